"""Random blocks, the third part of the pattern of Zaheer et al. 2020, "Big Bird" (beside a window and global tokens)."""

from functools import reduce
from operator import or_
from random import Random

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, h, k, lookup, q, same
from attnmask.define.parts.numbers import check_number
from attnmask.define.tables import Table
from attnmask.errors import MaskError


@kind
def random_blocks(n: int, size: int, count: int, *, seed: int = 0, heads: int | None = None) -> Mask:
    """Each block of queries sees ``count`` blocks of keys drawn at random: ``k // size in chosen[h, q // size]``.

    >>> import attnmask as am
    >>> print(am.show(am.random_blocks(8, 2, 1), 8).text())
    random_blocks(8, 2, 1): 8 queries x 8 keys, 16 of 64 visible (25.0 %)
        0 1 2 3 4 5 6 7
      0 · · · · · · ■ ■
      1 · · · · · · ■ ■
      2 · · · · · · ■ ■
      3 · · · · · · ■ ■
      4 · · ■ ■ · · · ·
      5 · · ■ ■ · · · ·
      6 · · ■ ■ · · · ·
      7 · · ■ ■ · · · ·

    Big Bird with blocks of 64 is ``random_blocks(n, 64, 3) | landmarks(...) | (abs(am.q // 64 - am.k // 64) <= 1)``.
    The draw depends on the arguments alone: the same text gives the same mask on every machine.

    Args:
        n: positions of the sequence.
        size: positions per block, at least 1; the last block may be shorter.
        count: key blocks for each query block, all different.
        seed: a whole number; another one draws other blocks.
        heads: draw anew for each of so many heads; None for one draw for all.
    """
    fix = "Write random_blocks(n=4096, size=64, count=3)"
    numbers = {"n": n, "size": size, "count": count} | ({} if heads is None else {"heads": heads})
    for name, value in numbers.items():
        check_number(name, value, least=1, rule="n, size, count and heads are at least 1", fix=fix)
    check_number("seed", seed, least=0, rule="a seed is a whole number of at least 0", fix=fix)
    total = -(-n // size)
    if count > total:
        raise MaskError("a block is drawn once", f"count={count} of {total} blocks", f"Write count={total} or less")
    draw = Random(seed)
    rows = [[_drawn(draw, total, count) for _ in range(total)] for _ in range(heads or 1)]
    chosen = Table.of([[list(place) for place in zip(*row, strict=True)] for row in rows])
    head = 0 if heads is None else h
    return reduce(or_, (same(lookup(chosen, head, one, q // size), k // size) for one in range(count)))


def _drawn(draw: Random, total: int, count: int) -> list[int]:
    """Different numbers below ``total``; only ``random()`` is promised to stay the same in every Python."""
    found: set[int] = set()
    while len(found) < count:
        found.add(int(draw.random() * total))
    return sorted(found)


EXAMPLES = [
    (random_blocks(12, 3, 2), Frame(12)),
    (random_blocks(8, 2, 1, seed=3, heads=2), Frame(8)),
    (random_blocks(10, 4, 1, seed=1) | (abs(q // 4 - k // 4) <= 1), Frame(3, 10, align="end")),
]
