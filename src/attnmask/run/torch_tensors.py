"""What engines do to torch's tensors before they compute, said once."""

from __future__ import annotations

from typing import Any

import torch

SECOND = (
    "fused kernels give first derivatives of attention under a mask",
    "a second derivative",
    "Call attention under torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)",
)


def autocast_is_on(kind: str) -> bool:
    """Whether torch.autocast is on for a kind of device."""
    return bool(torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind))


def autocast(array: Any) -> Any:
    """In the number format of torch.autocast, where it is on, as SDPA: it does not look into what is not torch's own."""
    kind = array.device.type
    if array.dtype == torch.float64 or not autocast_is_on(kind):
        return array
    return array.to(torch.get_autocast_dtype(kind))


def straight(array: Any) -> Any:
    """With the numbers of a row side by side, as kernels want them."""
    return array if array.stride(3) == 1 else array.contiguous()
