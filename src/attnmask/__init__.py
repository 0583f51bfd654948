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
from attnmask.define.masks.axial import axial as axial
from attnmask.define.masks.block_diffusion import block_diffusion as block_diffusion
from attnmask.define.masks.blocks import blocks as blocks
from attnmask.define.masks.causal import causal as causal
from attnmask.define.masks.chunked import chunked as chunked
from attnmask.define.masks.dilated import dilated as dilated
from attnmask.define.masks.documents import documents as documents
from attnmask.define.masks.everything import everything as everything
from attnmask.define.masks.graph import graph as graph
from attnmask.define.masks.grid import grid as grid
from attnmask.define.masks.images import images as images
from attnmask.define.masks.landmarks import landmarks as landmarks
from attnmask.define.masks.media import media as media
from attnmask.define.masks.nothing import nothing as nothing
from attnmask.define.masks.padding import padding as padding
from attnmask.define.masks.prefix import prefix as prefix
from attnmask.define.masks.random_blocks import random_blocks as random_blocks
from attnmask.define.masks.shared_prefix import shared_prefix as shared_prefix
from attnmask.define.masks.sinks import sinks as sinks
from attnmask.define.masks.sliding_tiles import sliding_tiles as sliding_tiles
from attnmask.define.masks.strided import strided as strided
from attnmask.define.masks.table import table as table
from attnmask.define.masks.tree import tree as tree
from attnmask.define.masks.window import window as window
from attnmask.define.normal.simplify import simplify as simplify
from attnmask.define.proof.prove import CounterExample as CounterExample
from attnmask.define.proof.prove import Proof as Proof
from attnmask.define.proof.prove import Undecided as Undecided
from attnmask.define.proof.prove import equivalent as equivalent
from attnmask.define.proof.prove import implies as implies
from attnmask.define.selection import Selection as Selection
from attnmask.define.selections.threshold import threshold as threshold
from attnmask.define.selections.top_k import top_k as top_k
from attnmask.define.selections.top_k_blocks import top_k_blocks as top_k_blocks
from attnmask.define.text.parse import parse as parse
from attnmask.define.tracing.trace import trace as trace

# 3 exchange: a form <-> a framework's own mask arguments
from attnmask.exchange.diagnosis.diagnose import diagnose as diagnose
from attnmask.exchange.diagnosis.finding import Finding as Finding
from attnmask.exchange.exchange import export as export
from attnmask.exchange.exchange import frameworks as frameworks
from attnmask.exchange.exchange import read as read
from attnmask.exchange.recognition.recognize import recognize as recognize

# 6 explain: show it and say why
from attnmask.explain.picture import Picture as Picture
from attnmask.explain.picture import show as show
from attnmask.explain.plan import Plan as Plan
from attnmask.explain.plan import plan as plan
from attnmask.explain.why import Why as Why
from attnmask.explain.why import why as why
from attnmask.explain.worked import Explanation as Explanation
from attnmask.explain.worked import explain as explain

# 2 lower: mask + frame -> a concrete form
from attnmask.lower import measure as _measure  # noqa: F401  # gives Mask its count, density and empty_rows
from attnmask.lower.lowering import lower as lower

# 4 run: form + q, k, v -> output
from attnmask.run.attention import attention as attention
from attnmask.run.attention import attention_weights as attention_weights
from attnmask.run.careful import nan_safe as nan_safe

# 5 verify: does a model leak?
from attnmask.verify import testing as testing
from attnmask.verify.audit import Audit as Audit
from attnmask.verify.audit import audit as audit
from attnmask.verify.check import check as check
from attnmask.verify.flow import Flow as Flow
from attnmask.verify.flow import flow as flow
from attnmask.verify.record import record as record
from attnmask.verify.report import Report as Report
