"""The recorder: watches the operations that torch executes and notes every attention call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.nn.modules import module as modules
from torch.utils._python_dispatch import TorchDispatchMode

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.exchange.diagnosis.finding import Finding
from attnmask.run.watching import WATCHERS
from attnmask.verify.calls import Call, Log
from attnmask.verify.torch import kernels
from attnmask.verify.torch.weak_fills import OF_FILLS, Fill, WeakFills, WeaklyMasked
from attnmask.verify.torch.written_out import OPERATIONS, WrittenOut

NATIVE = ("_native_multi_head_attention", "_transformer_encoder_layer_fwd")
HEADS = ("num_heads", "n_head", "n_heads", "num_attention_heads", "heads")


class Recorder(TorchDispatchMode):  # type: ignore[misc]  # torch is not analysed
    """A context manager that gives a ``Log``; see ``attnmask.record``."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        named = model.named_modules() if isinstance(model, torch.nn.Module) else ()
        self.names = {id(part): name for name, part in named}
        self.log = Log()
        self.stack: list[torch.nn.Module] = []
        self.fills = WeakFills()
        self.written = WrittenOut(self.fills)
        self.within = 0  # calls of am.attention, whose operations are not looked at
        self.handles: list[Any] = []

    def __enter__(self) -> Log:
        super().__enter__()
        WATCHERS.append(self._given)
        self.handles = [
            modules.register_module_forward_pre_hook(lambda part, args: self.stack.append(part)),
            modules.register_module_forward_hook(self._leave, always_call=True),
        ]
        return self.log

    def __exit__(self, *exception: Any) -> None:
        WATCHERS.remove(self._given)
        for handle in self.handles:
            handle.remove()
        self.written.clear()
        self.fills.clear()
        super().__exit__(*exception)

    def _leave(self, part: torch.nn.Module, args: Any, output: Any) -> None:
        if part in self.stack[-1:]:
            self.stack.pop()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        name, filling, watched = _of_interest(function)
        if self.within:
            return result
        if filling:
            self.fills.watch(function, name, args, kwargs, result)
        if watched:
            self._watch(function, name, args, kwargs, result)
        return result

    def _watch(self, function: Any, name: str, args: Any, kwargs: Any, result: Any) -> None:
        if name.startswith("_scaled_dot_product"):
            arguments = kernels.arguments_of(function, args, kwargs)
            bias = arguments.get("attn_mask") if arguments.get("attn_bias") is None else arguments["attn_bias"]
            self._note(kernels.fused(arguments), "torch.sdpa", (), self.fills.of(bias))
        elif function.namespace == "attnmask" and name == "rows":
            self._note(kernels.rows(kernels.arguments_of(function, args, kwargs)), "attnmask", ())
        elif name in NATIVE:
            arguments = kernels.arguments_of(function, args, kwargs)
            self._note(kernels.native(arguments), "torch.mha", (), self.fills.of(arguments.get("mask")))
        else:
            seen = self.written.watch(function, name, args, kwargs, result)
            if seen is not None:
                self._note(seen.visible, "softmax", seen.noted, seen.fill)

    @contextmanager
    def _given(self, mask: Mask, frame: Frame) -> Iterator[None]:
        """A call of am.attention, which says its mask itself."""
        self.within += 1
        try:
            yield
        finally:
            self.within -= 1
        visible = kernels.collapsed(torch.from_numpy(mask.dense(frame)))
        self.log.calls.append(Call(self._place(), "attnmask", visible, given=(mask, frame)))

    def _note(self, visible: torch.Tensor, api: str, noted: tuple[Finding, ...], fill: Fill | None = None) -> None:
        inside = [part for part in self.stack if isinstance(part, torch.nn.MultiheadAttention)]
        said = (self._place(), "torch.mha" if inside else api, self._cells(visible), noted)
        if fill is None or not bool((fill.hidden & visible).any()):
            self.log.calls.append(Call(*said))
        else:
            meant = self._cells((~fill.hidden & visible).expand(visible.shape))
            self.log.calls.append(WeaklyMasked(*said, fill.value, meant))

    def _cells(self, visible: torch.Tensor) -> kernels.Bools:
        return kernels.collapsed(kernels.four_axes(visible, self._heads()))

    def _place(self) -> str:
        known = [self.names[id(part)] for part in self.stack if id(part) in self.names]
        return known[-1] if known else (type(self.stack[-1]).__name__ if self.stack else "")

    def _heads(self) -> int | None:
        for part in reversed(self.stack):
            for name in HEADS:
                value = getattr(part, name, None) or getattr(getattr(part, "config", None), name, None)
                if isinstance(value, int):
                    return value
        return None


@cache
def _of_interest(function: Any) -> tuple[str, bool, bool]:
    """The name of an operation, whether it may make or pass on a fill, and whether it may be or lead to an attention call."""
    name = function._schema.name.rpartition("::")[2]
    fused = name.startswith("_scaled_dot_product") and not name.endswith("backward")
    return (
        name,
        name in OF_FILLS,
        fused or name in NATIVE or name in OPERATIONS or (function.namespace == "attnmask" and name == "rows"),
    )
