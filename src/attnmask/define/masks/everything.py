"""Full attention: every query sees every key, as in an encoder without padding (Vaswani et al. 2017)."""

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.language import Const
from attnmask.define.mask import Mask


@kind
def everything() -> Mask:
    """Every query sees every key: ``True``.

    >>> import attnmask as am
    >>> print(am.show(am.everything(), 3).text())
    everything(): 3 queries x 3 keys, 9 of 9 visible (100.0 %)
        0 1 2
      0 ■ ■ ■
      1 ■ ■ ■
      2 ■ ■ ■
    """
    return Mask(Const(True))


EXAMPLES = [(everything(), Frame(8)), (everything(), Frame(3, 7))]
