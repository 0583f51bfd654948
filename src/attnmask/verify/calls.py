"""What a recording holds: attention calls, each with the mask that it really used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.normal.simplify import simplify
from attnmask.exchange.diagnosis.diagnose import diagnose
from attnmask.exchange.diagnosis.finding import Finding
from attnmask.exchange.recognition.exact import is_table
from attnmask.exchange.recognition.recognize import Fit, fits, in_words


@dataclass(frozen=True)
class Call:
    """One attention call: where it happened, through which API, and what each query could see.

    Attributes:
        module: the dotted name of the innermost module that made the call.
        api: ``"torch.sdpa"``, ``"softmax"`` (scores, softmax and a product written out) or ``"torch.mha"``.
        visible: booleans (batch, heads, q_len, kv_len), size 1 where nothing varies along batch or heads.
        noted: findings that only the call itself could show, such as a mask applied after the softmax.
        given: the mask and the frame of a call of ``am.attention``, which says them itself.
    """

    module: str
    api: str
    visible: NDArray[np.bool_]
    noted: tuple[Finding, ...] = field(default=())
    given: tuple[Mask, Frame] | None = field(default=None, kw_only=True)

    @cached_property
    def fits(self) -> list[Fit]:
        """What the array is in each alignment that it may have, the shortest first."""
        return fits(self.visible)

    @property
    def mask(self) -> Mask:
        """The mask that was given, else the shortest known expression that is exactly what was used."""
        if self.given is not None:
            return self.given[0]
        return self.fits[0].mask

    @property
    def frame(self) -> Frame:
        """The frame of the call; its q_start is the alignment in which ``mask`` is exact, None if it needs none."""
        if self.given is not None:
            return self.given[1]
        q_len, kv_len = self.visible.shape[2:]
        return Frame(q_len, kv_len, q_start=self.fits[0].q_start if self._is_aligned else None)

    @cached_property
    def name(self) -> str:
        """The mask in short notation, and where the first query stands if it is not known without; a table in words."""
        start = f", q_start={self.frame.q_start}" if self._is_aligned else ""
        if self.given is not None and is_table(self.fits[0].mask):
            return f"{simplify(self.mask)}{start}"
        return in_words(self.visible, self.fits[0]) + start

    @property
    def findings(self) -> list[Finding]:
        """What looks wrong about this call."""
        return [*self.noted, *diagnose(self.visible), *self._hidden_cache()]

    @property
    def _is_aligned(self) -> bool:
        """Whether the mask depends on where the queries stand among the keys."""
        q_len, kv_len = self.visible.shape[2:]
        return q_len != kv_len and "q" in self.mask.depends_on

    def _hidden_cache(self) -> Iterator[Finding]:
        q_len, kv_len = self.visible.shape[2:]
        if self.given is None and self._is_aligned and q_len < kv_len and self.fits[0].q_start == 0:
            yield Finding(
                "hidden-cache",
                f"{q_len} queries are aligned with the first of {kv_len} keys: they see no cache before them",
                f"{self.mask} fits with q_start=0 only",
                f"Align the last query with the last key: Frame({q_len}, {kv_len}, align='end'), q_start={kv_len - q_len}",
            )

    def __str__(self) -> str:
        q_len, kv_len = self.visible.shape[2:]
        return f"{self.module or '(model)'}: {self.name} via {self.api}, {q_len} queries x {kv_len} keys"


@dataclass
class Log:
    """The attention calls of one recording, in the order in which they happened."""

    calls: list[Call] = field(default_factory=list)

    def text(self) -> str:
        """One line per call, and its findings."""
        lines = []
        for call in self.calls:
            lines.append(str(call))
            lines += [f"    ! {finding}" for finding in call.findings]
        return "\n".join(lines) or "no attention call was seen"

    def __repr__(self) -> str:
        return self.text()
