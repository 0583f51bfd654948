"""No attention: every row is empty. The neutral element of ``|``."""

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.language import Const
from attnmask.define.mask import Mask


@kind
def nothing() -> Mask:
    """No query sees any key: ``False``. Attention under it is exactly zero.

    >>> import attnmask as am
    >>> print(am.show(am.nothing(), 2).text())
    nothing(): 2 queries x 2 keys, 0 of 4 visible (0.0 %)
        0 1
      0 · ·
      1 · ·
    """
    return Mask(Const(False))


EXAMPLES = [(nothing(), Frame(8)), (nothing(), Frame(3, 7))]
