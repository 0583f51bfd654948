"""What the choice of an engine depends on: all of a call but its numbers."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.arrays import faked
from attnmask.run.machine import Machine, here

NOTHING: AbstractContextManager[Any] = nullcontext()


class Setting(NamedTuple):
    """What a call depends on beside its mask and its shapes.

    Attributes:
        dtype: the number format that is computed in, as ``"float32"``; under torch.autocast, that of it.
        device: the kind of device: ``"cpu"``, ``"cuda"``, ``"meta"``.
        grad: whether gradients will be asked for.
        transformed: whether torch.func (vmap, grad, ...), forward-mode derivatives or fake tensors look at the operations
            inside.
        fused: whether torch.nn.attention.sdpa_kernel allows fused kernels.
        compiled: whether torch.compile is looking.
        lse: whether the log-sum-exp is asked for.
    """

    dtype: str = "float32"
    device: str = "cpu"
    grad: bool = False
    transformed: bool = False
    fused: bool = True
    compiled: bool = False
    lse: bool = False


class Request(NamedTuple):
    """A call of attention without its arrays.

    Attributes:
        library: ``"numpy"``, ``"torch"`` or ``"jax"``.
        mask: the mask.
        frame: the frame, settled.
        batch: the batch size of q.
        heads: the heads of q.
        kv_heads: the heads of k and v.
        dim: the numbers per query and key.
        dim_v: the numbers per value.
        setting: number format, device, and who is looking.
        machine: the processor; None for this one.
    """

    library: str
    mask: Mask
    frame: Frame
    batch: int
    heads: int
    kv_heads: int
    dim: int
    dim_v: int
    setting: Setting = Setting()
    machine: Machine | None = None

    @property
    def processor(self) -> Machine:
        """The processor that it is about."""
        return here() if self.machine is None else self.machine

    @property
    def copies(self) -> int:
        """Batches times heads."""
        return self.batch * self.heads

    @property
    def pairs(self) -> int:
        """All pairs of a query and a key, over all batches and heads."""
        return self.copies * self.frame.q_len * self.frame.kv_len


class Work(NamedTuple):
    """What an engine does for a request.

    Attributes:
        calls: kernel calls.
        computed: pairs of a query and a key that are computed, over all batches and heads.
        words: what is called, in words.
    """

    calls: int
    computed: int
    words: str


def whole_work(request: Request, function: str) -> Work:
    """One call over all pairs, with a mask."""
    q_len, kv_len = request.frame.q_len, request.frame.kv_len
    return Work(1, request.pairs, f"1 call of {function} with a mask of {q_len:,} x {kv_len:,}")


def native_work(request: Request, function: str, causal: bool) -> Work:
    """One call that needs no mask."""
    q_len, kv_len = request.frame.q_len, request.frame.kv_len
    seen = min(q_len, kv_len)
    pairs = seen * (seen + 1) // 2 + (q_len - seen) * kv_len if causal else q_len * kv_len
    return Work(1, request.copies * pairs, f"1 call of {function}{', is_causal' if causal else ''} without a mask")


def request_of(library: str, mask: Mask, frame: Frame, arrays: dict[str, Any]) -> Request:
    """The request of arrays that passed the contract."""
    q, k = arrays["q"], arrays["k"]
    v = arrays.get("v", k)
    return Request(library, mask, frame, q.shape[0], q.shape[1], k.shape[1], q.shape[3], v.shape[3], setting_of(arrays))


def setting_of(arrays: dict[str, Any]) -> Setting:
    """The setting of arrays of one library."""
    q, torch = arrays["q"], sys.modules.get("torch")
    if torch is None or not isinstance(q, torch.Tensor):
        return Setting(str(q.dtype))
    grad = torch.is_grad_enabled() and any(array.requires_grad for array in arrays.values())
    return setting_now(str(q.dtype), q.device.type, grad, faked(q))


def setting_now(dtype: str, device: str, grad: bool = False, fake: bool = False, compiled: bool = False) -> Setting:
    """The setting of tensors of torch, from the modes that torch is in."""
    torch = sys.modules["torch"]
    if device in ("cpu", "cuda") and torch.is_autocast_enabled(device) and dtype != "torch.float64":
        dtype = str(torch.get_autocast_dtype(device))
    transformed = fake or torch._C._are_functorch_transforms_active() or _forward_mode()
    fused = torch._C._get_flash_sdp_enabled()  # what torch.nn.attention.sdpa_kernel switches, on the CPU too
    return Setting(dtype.removeprefix("torch."), device, grad, transformed, fused, compiled)


def formula_where_kernels_end() -> AbstractContextManager[Any]:
    """Fused kernels off where derivatives are taken that they do not have: forward-mode, and second ones of torch.func."""
    torch = sys.modules.get("torch")
    if torch is None or torch.compiler.is_compiling():
        return NOTHING
    if not _forward_mode():
        if not torch._C._are_functorch_transforms_active():
            return NOTHING
        if [level.key().name for level in torch._C._functorch.get_interpreter_stack()].count("Grad") < 2:
            return NOTHING
    context: AbstractContextManager[Any] = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    return context


def _forward_mode() -> bool:
    return bool(sys.modules["torch.autograd.forward_ad"]._current_level >= 0)
