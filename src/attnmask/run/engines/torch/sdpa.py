"""``scaled_dot_product_attention``, whose fused kernels refuse a second derivative in words of ours."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from attnmask.errors import InputError
from attnmask.lower.compiled import compiling
from attnmask.run.torch_tensors import SECOND


def scaled_dot_product_attention(*arrays: Any, **options: Any) -> Any:
    """The same; the gradients that a fused kernel gives cannot be differentiated, which torch would say raw."""
    output = functional.scaled_dot_product_attention(*arrays, **options)
    if output.requires_grad and not compiling():
        node = output.grad_fn
        if node is not None and node.name().startswith("ScaledDotProduct"):
            node.register_hook(_once)
    return output


def _once(grads: tuple[Any, ...], _: Any) -> tuple[Any, ...] | None:
    """The gradients; with ``create_graph``, such that their own derivative is refused."""
    if not torch.is_grad_enabled():
        return None
    return tuple(None if grad is None else _Refused.apply(grad) for grad in grads)


class _Refused(torch.autograd.Function):  # type: ignore[misc]
    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Any) -> Any:
        return grad.view_as(grad)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        raise InputError(*SECOND)
