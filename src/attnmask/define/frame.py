"""``Frame``: how many queries and keys there are, and where the first query stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from attnmask.errors import FrameError

Align = Literal["start", "end"]


@dataclass(frozen=True)
class Frame:
    """The coordinates that a mask is seen in: queries q_start .. q_start + q_len, keys 0 .. kv_len.

    With ``q_len == kv_len`` the first query stands at 0. Otherwise ``q_start`` says where (or ``align="start"``: 0,
    ``align="end"``: the last query meets the last key, as in cached decoding). A frame without any of them is
    good for masks that do not depend on the query's position, such as padding in cross-attention.

        Frame(2, 5, align="end")           Frame(2, 5, align="start")
        keys      0 1 2 3 4                keys      0 1 2 3 4
        query 3   # # # # .                query 0   # . . . .      (the mask is causal)
        query 4   # # # # #                query 1   # # . . .

    ``batch`` and ``heads`` are normally left to the tables of the mask; given, they must agree with them.

    >>> Frame(2, 5, align="end")
    Frame(2, 5, q_start=3)
    >>> Frame(4).q_start
    0
    >>> Frame(0)
    Traceback (most recent call last):
    attnmask.errors.FrameError: lengths of a frame are at least 1; got q_len=0. Write the number of queries, for example Frame(8).
    """

    q_len: int
    kv_len: int = None  # type: ignore[assignment]  # __post_init__ makes it q_len
    q_start: int | None = field(default=None, kw_only=True)
    align: Align | None = field(default=None, kw_only=True, compare=False)
    batch: int | None = field(default=None, kw_only=True)
    heads: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "kv_len", self.q_len if self.kv_len is None else self.kv_len)
        for name in ("q_len", "kv_len", "batch", "heads", "q_start"):
            self._check_int(name, getattr(self, name))
        put(self, "q_start", self._start())
        put(self, "align", None)  # said once, as q_start

    def _check_int(self, name: str, value: object) -> None:
        if value is None and name not in ("q_len", "kv_len"):
            return
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise FrameError("sizes of a frame are whole numbers", f"{name}={value!r}", "Write int(...)")
        number = value.__index__()
        if number < 1 and name != "q_start":
            fix = (
                "Write the number of queries, for example Frame(8)"
                if name == "q_len"
                else f"Leave {name} out, or give it"
            )
            raise FrameError("lengths of a frame are at least 1", f"{name}={number}", fix)
        object.__setattr__(self, name, number)

    def _start(self) -> int | None:
        starts = {"start": 0, "end": self.kv_len - self.q_len}
        if self.align is None:
            return 0 if self.q_start is None and self.q_len == self.kv_len else self.q_start
        if self.align not in starts:
            raise FrameError("align is 'start' or 'end'", repr(self.align), "Write align='end' for cached decoding")
        if self.q_start not in (None, starts[self.align]):
            raise FrameError(
                "q_start and align say the same thing",
                f"q_start={self.q_start} with align={self.align!r}, which means q_start={starts[self.align]}",
                "Give one of them",
            )
        return starts[self.align]

    @classmethod
    def of(cls, frame: Frame | int) -> Frame:
        """A frame, or the length of a square one."""
        if isinstance(frame, Frame):
            return frame
        if isinstance(frame, (tuple, list)):
            raise FrameError("a frame is a Frame or a length", repr(frame), f"Write Frame{tuple(frame)}")
        return cls(frame)

    def __repr__(self) -> str:
        square = self.q_len == self.kv_len
        parts = [str(self.q_len)] if square else [str(self.q_len), str(self.kv_len)]
        if self.q_start is not None and not (square and self.q_start == 0):
            parts.append(f"q_start={self.q_start}")
        parts += [f"{name}={value}" for name in ("batch", "heads") if (value := getattr(self, name)) is not None]
        return f"Frame({', '.join(parts)})"
