"""attnmask: define an attention mask once, run it fast in any framework, prove that nothing leaks, and see why.

>>> import attnmask as am
>>> mask = am.causal() & am.padding([4, 2])
>>> mask.dense(4).shape
(2, 1, 4, 4)
"""

# 1 define: what may attend to what
from attnmask.define.frame import Frame as Frame
from attnmask.define.mask import Mask as Mask
from attnmask.define.mask import Term as Term
from attnmask.define.mask import b as b
from attnmask.define.mask import h as h
from attnmask.define.mask import k as k
from attnmask.define.mask import lookup as lookup
from attnmask.define.mask import maximum as maximum
from attnmask.define.mask import minimum as minimum
from attnmask.define.mask import q as q
from attnmask.define.mask import same as same
from attnmask.define.mask import where as where
from attnmask.define.masks.causal import causal as causal
from attnmask.define.masks.chunked import chunked as chunked
from attnmask.define.masks.documents import documents as documents
from attnmask.define.masks.everything import everything as everything
from attnmask.define.masks.nothing import nothing as nothing
from attnmask.define.masks.padding import padding as padding
from attnmask.define.masks.prefix import prefix as prefix
from attnmask.define.masks.table import table as table
from attnmask.define.masks.window import window as window
from attnmask.define.parse import parse as parse
from attnmask.define.trace import trace as trace

# 2 lower: mask + frame -> a concrete form
from attnmask.lower.lower import lower as lower
