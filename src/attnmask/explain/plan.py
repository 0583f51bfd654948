"""``plan``: which engine computes a mask, which refuse and why, and how much work the mask saves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import FrameError, InputError
from attnmask.explain.document import Document
from attnmask.explain.parts import Part, Table, Words
from attnmask.run.choose import engine_names, fastest, named, refusal
from attnmask.run.contract import checked_frame, checked_mask
from attnmask.run.costs import decided_by
from attnmask.run.request import Request, Setting, Work

LIBRARIES = ("numpy", "torch", "jax")
ENGINES = {  # frameworks that are an engine of ours
    "torch.sdpa": ("torch", "torch"),
    "torch.flex": ("torch", "flex"),
    "flex": ("torch", "flex"),
    "flash_attn": ("torch", "flash_attn"),
    "flash_attn.varlen": ("torch", "flash_attn"),
    "jax.nn": ("jax", "jax"),
}


class _Shaped(NamedTuple):
    """As much of an array as the contract looks at."""

    shape: tuple[int, int, int, int]


@dataclass(frozen=True, repr=False)
class Plan(Document):
    """What ``attention`` would do: ``text()``, ``to_json()``, ``svg()``, ``html()``, ``save(path)``.

    Args:
        request: the call without its arrays.
        engine: the engine that runs; None where the one that was asked for refuses.
        refused: the engines that refuse, each with its reason.
        work: what the engine calls; None without an engine.
        visible: visible pairs of a query and a key, over all batches and heads.
    """

    request: Request
    engine: str | None
    refused: dict[str, str]
    work: Work | None
    visible: int

    @property
    def dense(self) -> int:
        """All pairs, over all batches and heads: what a call with a dense mask computes."""
        return self.request.pairs

    @property
    def computed(self) -> int | None:
        """Pairs that are computed, over all batches and heads."""
        return None if self.work is None else self.work.computed

    @property
    def saved(self) -> float:
        """The part of all pairs that is not computed, 0 .. 1."""
        return 0.0 if self.work is None else 1 - self.work.computed / self.dense

    @property
    def decided_by(self) -> str:
        """Whose costs decided between engines; nothing where a CPU and torch are not concerned."""
        concerned = self.request.library == "torch" and self.request.setting.device == "cpu"
        return decided_by(self.request.processor) if concerned else ""

    @property
    def title(self) -> str:
        """The mask, the sizes and the engine."""
        one, setting = self.request, self.request.setting
        sizes = f"{one.batch} x {one.heads} heads, {one.frame.q_len:,} queries x {one.frame.kv_len:,} keys"
        answer = f"engine {self.engine}" if self.engine else "refused"
        return f"{one.mask}: {sizes}, {setting.dtype} on {setting.device}: {answer}"

    def describe(self, output: str) -> Sequence[Part]:
        """What is called, what is computed, and every engine's answer."""
        rows = tuple((name, self._answer(name)) for name in engine_names())
        return [*self._work_in_words(), Table(("engine", "answer"), rows)]

    def _work_in_words(self) -> list[Part]:
        seen = f"{self.visible:,} of {self.dense:,} pairs are visible ({100 * self.visible / self.dense:.1f} %)"
        if self.work is None:
            return [Words(seen + ".")]
        computed = f"{self.work.computed:,} are computed, {100 * self.saved:.1f} % of the work is saved"
        decided = [Words(f"Chosen by {self.decided_by}.")] if self.decided_by else []
        return [Words(f"{self.work.words}."), Words(f"{seen}, {computed}."), *decided]

    def _answer(self, name: str) -> str:
        if name in self.refused:
            return f"refuses: {self.refused[name]}"
        return "runs" if name == self.engine else "could run: engine=" + repr(name)

    def to_json(self) -> str:
        """The plan as JSON."""
        one, setting = self.request, self.request.setting
        sizes = {name: getattr(one, name) for name in ("batch", "heads", "kv_heads", "dim", "dim_v")}
        work = {} if self.work is None else {"calls": self.work.calls, "what": self.work.words}
        pairs = {"visible": self.visible, "computed": self.computed, "dense": self.dense, "saved": self.saved}
        told = {"mask": repr(one.mask), "frame": repr(one.frame), "library": one.library, **sizes, **setting._asdict()}
        return json.dumps(
            {**told, "engine": self.engine, "decided_by": self.decided_by, "refused": self.refused, **work, **pairs}
        )


def plan(
    mask: Mask | None,
    frame: Frame | int,
    framework: str = "torch",
    *,
    batch: int | None = None,
    heads: int | None = None,
    kv_heads: int | None = None,
    dim: int = 64,
    dtype: str = "float32",
    device: str = "cpu",
    training: bool = False,
) -> Plan:
    """What ``attention`` would do with a mask: which engine runs, which refuse and why, and the work that is saved.

    >>> import attnmask as am
    >>> found = am.plan(am.causal() & am.padding([900, 500]), 1000, "numpy")
    >>> found.engine, found.work.words
    ('numpy', 'the formula for 16 blocks of up to 64 rows, over the keys they see')
    >>> found.refused["flex"]
    'it computes with arrays of torch, not of numpy'
    >>> f"{found.visible:,} of {found.dense:,} pairs"
    '6,965,600 of 16,000,000 pairs'

    Args:
        mask: the mask; None for everything.
        frame: where it is seen.
        framework: a library, ``"torch"``, ``"jax"`` or ``"numpy"``, for the engine that ``attention`` takes; or one engine
            to ask for: ``"torch.sdpa"``, ``"torch.flex"``, ``"flash_attn"``, ``"jax.nn"``.
        batch: the batch size; by default that of the mask, or 1.
        heads: the heads; by default those of the mask, or 8.
        kv_heads: the heads of keys and values, which divide them; by default as many.
        dim: numbers per query, key and value.
        dtype: the number format, as ``"bfloat16"``.
        device: ``"cpu"`` or ``"cuda"``; no such device is needed.
        training: whether gradients are asked for.

    Raises:
        InputError: the framework has no engine, or ``kv_heads`` does not divide ``heads``.
        FrameError: the mask cannot be seen in this frame.
    """
    library, engine = _asked(framework)
    request = _request(checked_mask(mask), Frame.of(frame), library, batch, heads, dim)
    shared = _kv_heads(request.heads, kv_heads)
    request = request._replace(kv_heads=shared, setting=Setting(dtype, device, training, False))
    reasons = {name: refusal(name, request) for name in engine_names()}
    refused = {name: reason for name, reason in reasons.items() if reason is not None}
    engine = engine or fastest(request)
    runs = None if engine in refused else engine
    work = None if runs is None else named(runs).work(request)
    fitted = fit(request.mask, request.frame)
    copies = request.copies // (fitted.batch * fitted.heads)
    return Plan(request, runs, refused, work, request.mask.count(request.frame) * copies)


def _asked(framework: str) -> tuple[str, str | None]:
    """The library, and the one engine that is asked for, if one is."""
    if framework in LIBRARIES:
        return framework, None
    if framework not in ENGINES:
        raise InputError(
            f"a framework that runs is one of {', '.join((*LIBRARIES, *ENGINES))}",
            repr(framework),
            "To hand a mask to another framework, write am.export(mask, framework, frame)",
        )
    return ENGINES[framework]


def _kv_heads(heads: int, kv_heads: int | None) -> int:
    if kv_heads is not None and (kv_heads < 1 or heads % kv_heads):
        raise InputError(
            "the heads of keys and values divide those of queries",
            f"heads {heads}, kv_heads {kv_heads}",
            "Write for example heads=32, kv_heads=8",
        )
    return heads if kv_heads is None else kv_heads


def _request(mask: Mask, frame: Frame, library: str, batch: int | None, heads: int | None, dim: int) -> Request:
    """The request of arrays of these sizes; what is not said is what the mask says."""
    known = Frame(
        frame.q_len,
        frame.kv_len,
        q_start=frame.q_start,
        batch=frame.batch or batch or _said(mask, frame, "batch", 1),
        heads=frame.heads or heads or _said(mask, frame, "heads", 8),
    )
    sizes = (known.batch or 1, known.heads or 8)
    q, k = _Shaped((*sizes, frame.q_len, dim)), _Shaped((*sizes, frame.kv_len, dim))
    return Request(library, mask, checked_frame(known, mask, q, k), *sizes, sizes[1], dim, dim)


def _said(mask: Mask, frame: Frame, axis: str, otherwise: int) -> int:
    """The size of an axis that the mask's tables say; another one where they say none, or 1 for all."""
    length, start = (frame.q_len, frame.kv_len), frame.q_start
    try:
        size = getattr(fit(mask, Frame(*length, q_start=start)), axis)
    except FrameError:  # no table says a size that the mask depends on
        loose = Frame(*length, q_start=start, batch=frame.batch or 1, heads=frame.heads or 1)
        size = getattr(fit(mask, loose), axis)
    return int(size) if size > 1 else otherwise
