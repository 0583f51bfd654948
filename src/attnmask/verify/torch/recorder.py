"""The recorder: watches the operations that torch executes and notes every attention call.

A softmax is an attention call when its result, possibly after dropout, casts and reshapes, is the left factor of a
product: that is how ``weights @ value`` arrives here. Results are followed by their memory.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch.nn.modules import module as modules
from torch.utils._python_dispatch import TorchDispatchMode

from attnmask.exchange.diagnosis.finding import Finding
from attnmask.verify.calls import Call, Log
from attnmask.verify.torch import kernels
from attnmask.verify.torch.weak_fills import OF_FILLS, Fill, WeakFills, WeaklyMasked

NATIVE = ("_native_multi_head_attention", "_transformer_encoder_layer_fwd")
SOFTMAX = ("_softmax", "_safe_softmax")
PRODUCTS = ("bmm", "mm", "baddbmm")
# Operations after which softmax weights are still the same weights.
FOLLOWED = (
    *("_to_copy", "native_dropout", "mul", "div", "clone", "contiguous", "where", "masked_fill"),
    *("view", "_unsafe_view", "reshape", "expand", "slice", "squeeze", "unsqueeze", "permute", "transpose"),
)
HEADS = ("num_heads", "n_head", "n_heads", "num_attention_heads", "heads")


class Weights(NamedTuple):
    """Softmax weights that may turn out to belong to an attention call."""

    visible: torch.Tensor
    uniform: bool
    fill: Fill | None
    original: torch.Tensor  # as the softmax gave them; also keeps their memory from being reused
    dropped: bool
    held: tuple[torch.Tensor, ...]


class Recorder(TorchDispatchMode):  # type: ignore[misc]  # torch is not analysed
    """A context manager that gives a ``Log``; see ``attnmask.record``."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        named = model.named_modules() if isinstance(model, torch.nn.Module) else ()
        self.names = {id(part): name for name, part in named}
        self.log = Log()
        self.stack: list[torch.nn.Module] = []
        self.weights: dict[int, Weights] = {}
        self.fills = WeakFills()
        self.noise: dict[int, torch.Tensor] = {}  # factors of dropout, held so that their memory is not reused
        self.handles: list[Any] = []

    def __enter__(self) -> Log:
        super().__enter__()
        self.handles = [
            modules.register_module_forward_pre_hook(lambda part, args: self.stack.append(part)),
            modules.register_module_forward_hook(self._leave, always_call=True),
        ]
        return self.log

    def __exit__(self, *exception: Any) -> None:
        for handle in self.handles:
            handle.remove()
        self.weights.clear()
        self.noise.clear()
        self.fills.clear()
        super().__exit__(*exception)

    def _leave(self, part: torch.nn.Module, args: Any, output: Any) -> None:
        if part in self.stack[-1:]:
            self.stack.pop()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        name, filling, watched = _of_interest(function)
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
        elif name in SOFTMAX:
            self._remember(kernels.arguments_of(function, args, kwargs), result)
        elif name in PRODUCTS:
            self._product(args[1 if name == "baddbmm" else 0])
        elif name == "bernoulli_":
            self.noise[_memory(result)] = result
        elif name in FOLLOWED:
            self._follow(args, result[0] if isinstance(result, tuple) else result, name)

    def _remember(self, arguments: dict[str, Any], result: torch.Tensor) -> None:
        scores = arguments["self"]
        if scores.dim() < 2 or not scores.numel() or arguments["dim"] % scores.dim() != scores.dim() - 1:
            return
        visible = kernels.visible_in_scores(scores)
        uniform = bool(kernels.uniform_rows(scores).any())
        self.weights[_memory(result)] = Weights(visible, uniform, self.fills.of(scores), result, False, (result,))

    def _follow(self, args: Any, result: Any, name: str) -> None:
        if not self.weights:
            return
        for argument in args:
            known = self.weights.get(_memory(argument)) if isinstance(argument, torch.Tensor) else None
            if known is not None and isinstance(result, torch.Tensor):
                dropped = known.dropped or name == "native_dropout" or self._is_noisy(args)
                self.weights[_memory(result)] = known._replace(dropped=dropped, held=(*known.held, result))
                return

    def _is_noisy(self, args: Any) -> bool:
        return any(_memory(argument) in self.noise for argument in args if isinstance(argument, torch.Tensor))

    def _product(self, left: torch.Tensor) -> None:
        known = self.weights.get(_memory(left)) if self.weights else None
        if known is None:
            return
        for memory in [memory for memory, other in self.weights.items() if other.original is known.original]:
            del self.weights[memory]
        keys = left.shape[-1]
        visible, original = known.visible[..., :keys], known.original[..., :keys]  # extra columns are sinks
        noted = [UNIFORM] if known.uniform else []
        if left.numel() == original.numel() and not known.dropped:
            # Smaller weights may be lost in a cast.
            kept = max(torch.finfo(part.dtype).smallest_normal for part in known.held if part.is_floating_point())
            erased = (left.reshape(original.shape) == 0) & (original > kept)
            noted += [AFTER_SOFTMAX] if bool(erased.any()) else []
            visible = visible & ~erased
        fill = known.fill and known.fill._replace(hidden=known.fill.hidden[..., :keys])
        self._note(visible, "softmax", tuple(noted), fill)

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
    known = (*NATIVE, *SOFTMAX, *PRODUCTS, *FOLLOWED, "bernoulli_")
    fused = name.startswith("_scaled_dot_product") and not name.endswith("backward")
    return name, name in OF_FILLS, fused or name in known or (function.namespace == "attnmask" and name == "rows")


def _memory(tensor: torch.Tensor) -> int:
    """Where the numbers of a tensor lie; 0 for those that lie elsewhere, such as nested and sparse ones."""
    plain = not tensor.is_nested and tensor.layout is torch.strided
    return tensor.untyped_storage().data_ptr() if plain else 0


UNIFORM = Finding(
    "uniform-row",
    "a wholly masked row attends to everything equally, forbidden keys included",
    "rows whose every score is the fill",
    "Use am.attention or a boolean mask in scaled_dot_product_attention, which give zero there",
)
AFTER_SOFTMAX = Finding(
    "masked-after-softmax",
    "weights were set to zero after the softmax: the hidden keys still count in its denominator",
    "the weights of this call",
    "Mask the scores before the softmax",
)
