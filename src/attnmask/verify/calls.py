"""What a recording holds: attention calls, each with the mask that it really used."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.exchange.diagnose import Finding, diagnose
from attnmask.exchange.recognize import recognize


@dataclass(frozen=True)
class Call:
    """One attention call: where it happened, through which API, and what each query could see.

    Attributes:
        module: the dotted name of the innermost module that made the call.
        api: ``"torch.sdpa"``, ``"softmax"`` (scores, softmax and a product written out) or ``"torch.mha"``.
        visible: booleans (batch, heads, q_len, kv_len), size 1 where nothing varies along batch or heads.
        noted: findings that only the call itself could show, such as a mask applied after the softmax.
    """

    module: str
    api: str
    visible: NDArray[np.bool_]
    noted: tuple[Finding, ...] = field(default=())

    @cached_property
    def mask(self) -> Mask:
        """The shortest known expression that is exactly what was used."""
        return recognize(self.visible)

    @cached_property
    def frame(self) -> Frame:
        """The frame of the call; its q_start is the alignment in which ``mask`` is exact, None if it needs none."""
        q_len, kv_len = self.visible.shape[2:]
        for start in dict.fromkeys((None, kv_len - q_len, 0)):
            if start is None and "q" in self.mask.depends_on and q_len != kv_len:
                continue
            frame = Frame(q_len, kv_len, q_start=start)
            if np.array_equal(np.broadcast_to(self.mask.dense(frame), self.visible.shape), self.visible):
                return frame
        raise AssertionError("recognize gave a mask that is not the array")

    @property
    def name(self) -> str:
        """The mask in short notation."""
        return str(self.mask)

    @property
    def findings(self) -> list[Finding]:
        """What looks wrong about this call."""
        return [*self.noted, *diagnose(self.visible)]

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
