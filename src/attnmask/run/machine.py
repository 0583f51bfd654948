"""What the choice of an engine depends on of a processor. Here, and nowhere else, the processor under it is asked.

``ATTNMASK_HIDE=avx512,amx`` in the environment hides instruction sets from it, to try what other processors do.
"""

from __future__ import annotations

from typing import NamedTuple

from attnmask.run.engines.cpu.kernel import kernel


class Machine(NamedTuple):
    """A processor, as far as it matters.

    Attributes:
        variant: of attnmask's kernel that runs on it: ``"avx512"``, ``"avx2"``; None where none does.
        rows: query rows in a block of that variant.
        amx: whether it multiplies bfloat16 many times as fast as float, which the kernel does not use.
    """

    variant: str | None = None
    rows: int = 0
    amx: bool = False


def here() -> Machine:
    """This machine."""
    found = kernel()
    return Machine() if found is None else Machine(found.variant, found.rows, found.amx)
