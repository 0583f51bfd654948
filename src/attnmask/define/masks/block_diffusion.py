"""The training mask of block diffusion (Arriola et al. 2025, "Block Diffusion", BD3-LM, section 3.1)."""

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, q, same
from attnmask.define.parts.coordinates import inside
from attnmask.define.parts.numbers import check_number


@kind
def block_diffusion(n: int, size: int) -> Mask:
    """Noisy tokens see their own noisy block and the clean blocks before it; clean tokens the clean blocks up to theirs.

    The sequence is x_t ++ x_0: n noisy tokens, then the same n clean. With i and j the blocks of query and key:
    noisy-noisy ``i == j``, noisy-clean ``j < i``, clean-clean ``j <= i``, clean-noisy nothing.

    >>> import attnmask as am
    >>> print(am.show(am.block_diffusion(4, 2), 8).text())
    block_diffusion(4, 2): 8 queries x 8 keys, 24 of 64 visible (37.5 %)
        0 1 2 3 4 5 6 7
      0 ■ ■ · · · · · ·
      1 ■ ■ · · · · · ·
      2 · · ■ ■ ■ ■ · ·
      3 · · ■ ■ ■ ■ · ·
      4 · · · · ■ ■ · ·
      5 · · · · ■ ■ · ·
      6 · · · · ■ ■ ■ ■
      7 · · · · ■ ■ ■ ■

    Args:
        n: tokens of the clean text; the sequence has 2 n positions, and others see nothing.
        size: tokens per block, at least 1; the last block may be shorter.
    """
    for name, value in (("n", n), ("size", size)):
        check_number(
            name, value, least=1, rule="text and block hold at least 1 token", fix="Write block_diffusion(1024, 16)"
        )
    noisy_q, noisy_k = q < n, k < n
    i, j = q % n // size, k % n // size
    diagonal = noisy_q & noisy_k & same(i, j)
    offset_causal = noisy_q & ~noisy_k & (j < i)
    block_causal = ~noisy_q & ~noisy_k & (j <= i)
    return inside(2 * n) & (diagonal | offset_causal | block_causal)


EXAMPLES = [(block_diffusion(6, 2), Frame(12)), (block_diffusion(5, 2), Frame(4, 10, q_start=3))]
