"""Engines that compute attention, one folder each; the folder is the registry.

``engine.py`` of a folder is an ``Engine``; beside it lies all that is its own. The engine that is named as its library
runs whatever that library can hold; it also has ``attention_weights(q, k, mask, frame, scale)``. What they are given has
passed ``contract``; ``numpy/oracle.py`` is what all are tested against.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from attnmask.define.frame import Frame
    from attnmask.define.mask import Mask
    from attnmask.run.request import Request, Work


class Engine(Protocol):
    """What ``engine.py`` of each folder holds."""

    def refusal(self, request: Request) -> str | None:
        """Why it cannot run a request; None if it can."""

    def cost(self, request: Request) -> float:
        """What a request costs, counted as ``Costs`` says; it is not asked where it refuses."""

    def work(self, request: Request) -> Work:
        """What it does for a request, for ``am.plan``."""

    def attention(self, q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
        """The output (batch, heads, q_len, dim_v)."""
