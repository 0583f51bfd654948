"""Attention that is written out: scores, a softmax, perhaps casts and dropout, and a product with the values.

A softmax is attention when its result is the left factor of a product: that is how ``weights @ value`` arrives here. Results
are followed by their memory. What makes weights of scores may be one operation, or exponentials divided by their sum.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from attnmask.exchange.diagnosis.finding import Finding
from attnmask.verify.torch import kernels
from attnmask.verify.torch.weak_fills import Fill, WeakFills

SOFTMAX = ("_softmax", "_safe_softmax")
PRODUCTS = ("bmm", "mm", "baddbmm")
# Operations after which softmax weights are still the same weights.
FOLLOWED = (
    *("_to_copy", "native_dropout", "mul", "div", "clone", "contiguous", "where", "masked_fill"),
    *("view", "_unsafe_view", "reshape", "expand", "slice", "squeeze", "unsqueeze", "permute", "transpose"),
)
RANDOM = ("bernoulli_", "bernoulli", "rand", "rand_like", "uniform_", "uniform")
NOISY = ("gt", "ge", "lt", "le", "floor", "add", "sub", "rsub", "logical_not", "bitwise_not")  # of noise, still noise
OPERATIONS = frozenset((*SOFTMAX, *PRODUCTS, *FOLLOWED, *RANDOM, *NOISY, "exp"))
KEPT = 32  # results that may still become weights, or noise; held so that their memory is not reused
NEAR = 1e-3  # of a sum of weights to 1


class Weights(NamedTuple):
    """What may turn out to be the weights of an attention call, and what made them: "softmax", "queries" or "exp"."""

    made: str
    scores: torch.Tensor | None  # of which it is not known yet what is visible
    visible: torch.Tensor | None
    noted: tuple[Finding, ...]
    fill: Fill | None
    original: torch.Tensor  # as they were made; also keeps their memory from being reused
    dropped: bool
    held: tuple[torch.Tensor, ...]


class Seen(NamedTuple):
    """An attention call: its visible cells, what is odd about it, and the weak fill of its scores."""

    visible: torch.Tensor
    noted: tuple[Finding, ...]
    fill: Fill | None


class WrittenOut:
    """Follows weights from the softmax to the product."""

    def __init__(self, fills: WeakFills) -> None:
        self.fills = fills
        self.weights: dict[int, Weights] = {}
        self.noise: dict[int, torch.Tensor] = {}

    def clear(self) -> None:
        """Let go of all tensors."""
        self.weights.clear()
        self.noise.clear()

    def watch(self, function: Any, name: str, args: Any, kwargs: Any, result: Any) -> Seen | None:
        """Take note of one operation; the attention call, if it is the product of one."""
        if name in SOFTMAX:
            self._remember(kernels.arguments_of(function, args, kwargs), result)
        elif name in PRODUCTS:
            return self._product(args[1 if name == "baddbmm" else 0], batched=name != "mm")
        elif name == "exp":
            self._keep(result, Weights("exp", args[0], None, (), self.fills.of(args[0]), result, False, (result,)))
        elif name in RANDOM:
            _put(self.noise, result, result)
        else:
            self._follow(args, result[0] if isinstance(result, tuple) else result, name)
        return None

    def _remember(self, arguments: dict[str, Any], result: torch.Tensor) -> None:
        scores = arguments["self"]
        axis = arguments["dim"] % max(1, scores.dim()) - scores.dim()
        if scores.dim() < 2 or not scores.numel() or axis < -2:
            return
        over_keys = scores if axis == -1 else scores.mT
        visible = kernels.visible_in_scores(over_keys)
        noted = ((NAN,) if bool(scores.amax().isnan()) else ()) + (
            (UNIFORM,) if bool(kernels.uniform_rows(over_keys).any()) else ()
        )
        made = "softmax" if axis == -1 else "queries"
        seen = visible if axis == -1 else visible.mT
        self._keep(result, Weights(made, None, seen, noted, self.fills.of(scores), result, False, (result,)))

    def _keep(self, result: torch.Tensor, weights: Weights) -> None:
        if result.dim() >= 2 and result.is_floating_point():
            _put(self.weights, result, weights)

    def _follow(self, args: Any, result: Any, name: str) -> None:
        if not (self.weights or self.noise) or not isinstance(result, torch.Tensor):
            return
        places = [_memory(argument) for argument in args if isinstance(argument, torch.Tensor)]
        known = next((self.weights[place] for place in places if place in self.weights), None)
        noisy = any(place in self.noise for place in places)
        if known is not None and name in FOLLOWED:
            dropped = known.dropped or name == "native_dropout" or noisy
            _put(self.weights, result, known._replace(dropped=dropped, held=(*known.held, result)))
        elif noisy:
            _put(self.noise, result, result)

    def _product(self, left: torch.Tensor, *, batched: bool) -> Seen | None:
        known = self.weights.get(_memory(left)) if self.weights else None
        if known is None:
            return None
        for memory in [memory for memory, other in self.weights.items() if other.original is known.original]:
            del self.weights[memory]
        if known.made == "softmax":
            return _seen(known, left)
        if known.made == "exp":
            return _seen(known, left) if _sums_to_one(left, -1) else None
        over_queries = batched and not _sums_to_one(left, -1) and _sums_to_one(left, -2)
        return _seen(known._replace(noted=(*known.noted, OVER_QUERIES)), left) if over_queries else None


def _seen(known: Weights, left: torch.Tensor) -> Seen:
    """The call whose weights are the left factor of a product."""
    keys = left.shape[-1]
    visible = kernels.visible_in_scores(known.scores) if known.visible is None else known.visible
    visible, original = visible[..., :keys], known.original[..., :keys]  # extra columns are sinks
    noted = [*known.noted, *([BY_HAND] if known.made == "exp" else [])]
    if left.numel() == original.numel():
        weights = left.reshape(original.shape)
        filled = ~(weights >= 0) & (original >= 0)
        erased = filled if known.dropped else filled | ((weights == 0) & (original > _smallest(known)))
        noted += [FILLED_AFTER] if bool(filled.any()) else []
        late = bool((erased & ~filled).any()) and not _sums_to_one(left, -1)
        noted += [AFTER_SOFTMAX] if late else []
        visible = visible & ~erased
    fill = known.fill and known.fill._replace(hidden=known.fill.hidden[..., :keys])
    return Seen(visible, tuple(noted), fill)


def _smallest(known: Weights) -> float:
    """Smaller weights may have been lost in a cast."""
    return max(float(torch.finfo(part.dtype).smallest_normal) for part in known.held if part.is_floating_point())


def _sums_to_one(weights: torch.Tensor, axis: int) -> bool:
    """Whether all rows are distributions, but those that see nothing."""
    sums = weights.float().sum(axis)
    return bool((((sums - 1).abs() < NEAR) | (sums == 0) | sums.isnan()).all() and (sums != 0).any())


def _put(known: dict[int, Any], tensor: torch.Tensor, value: Any) -> None:
    """Keep what is known of a tensor, and of the last ones only."""
    memory = _memory(tensor)
    if memory:
        known.pop(memory, None)
        known[memory] = value
    while len(known) > KEPT:
        del known[next(iter(known))]


def _memory(tensor: torch.Tensor) -> int:
    """Where the numbers of a tensor lie; 0 for those that lie elsewhere, such as nested and sparse ones."""
    plain = not tensor.is_nested and tensor.layout is torch.strided
    return tensor.untyped_storage().data_ptr() if plain else 0


NAN = Finding(
    "nan-scores",
    "scores are NaN: every weight of their rows is NaN, whatever the mask says",
    "scores that are NaN before the softmax",
    "Look for what makes them NaN: an infinite query or key, or a bias of inf - inf",
)
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
FILLED_AFTER = Finding(
    "filled-after-softmax",
    "weights were filled after the softmax: a fill is a score, as a weight it adds up values that must be hidden",
    "weights that are negative, infinite or NaN",
    "Fill the scores before the softmax",
)
OVER_QUERIES = Finding(
    "softmax-over-queries",
    "the softmax runs over the queries: the weights of a query do not sum to 1, and depend on all other queries",
    "weights whose columns sum to 1, and whose rows do not",
    "Write softmax(dim=-1) over scores (batch, heads, q_len, kv_len)",
)
BY_HAND = Finding(
    "softmax-by-hand",
    "the softmax is written out as exponentials and their sum, which overflows and has no kernel",
    "exponentials that were divided by their sum",
    "Write scores.softmax(-1), or am.attention",
)
