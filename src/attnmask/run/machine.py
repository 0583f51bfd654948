"""What the choice of an engine depends on of a processor. Here, and nowhere else, the processor under it is asked.

``ATTNMASK_HIDE=avx512,amx`` in the environment hides instruction sets from it, to try what other processors do: avx512,
avx2, amx, and bf16, the products of bfloat16 that are part of AVX-512 on some processors.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import NamedTuple

from attnmask.run.engines.cpu.kernel import kernel


class Machine(NamedTuple):
    """A processor, as far as it matters.

    Attributes:
        variant: of attnmask's kernel that runs on it: ``"avx512"``, ``"avx2"``, ``"neon"``; None where none does.
        rows: query rows in a block of that variant.
        amx: whether it multiplies bfloat16 by AMX, many times as fast as float; so do torch and the kernel.
        vendor: who made it, as the processor says it.
        family: its generation, likewise.
        name: what people call it.
    """

    variant: str | None = None
    rows: int = 0
    amx: bool = False
    vendor: str = ""
    family: int = 0
    name: str = ""

    @property
    def kind(self) -> tuple[str | None, bool, str, int]:
        """What machines of one kind have in common."""
        return (self.variant, self.amx, self.vendor, self.family)


@functools.cache
def here() -> Machine:
    """This machine."""
    found, told = kernel(), _told()
    name = f"{told.get('model name') or platform.processor() or platform.machine()}"
    family = int(told.get("cpu family", 0))
    made = (told.get("vendor_id", platform.machine()), family, f"{name} (family {family})" if family else name)
    return Machine(None, 0, False, *made) if found is None else Machine(found.variant, found.rows, found.amx, *made)


def _told() -> dict[str, str]:
    """What Linux says of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
