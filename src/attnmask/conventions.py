"""The four conventions of attnmask and its two rules, as words that the documentation and the errors quote.

The field never agreed on these. ``docs/conventions.md`` shows, per framework, what it does instead.
"""

from __future__ import annotations

from typing import NamedTuple


class Convention(NamedTuple):
    """One decision: its title and the sentence that states it."""

    title: str
    text: str


POLARITY = Convention(
    "True means visible",
    "The query may attend to the key where the mask is True. A framework that means the opposite is "
    "converted in its own exchange file and nowhere else.",
)
WINDOW = Convention(
    "A window counts positions on each side of the query",
    "window(left=2, right=0) shows 3 keys, the query's own position included.",
)
ALIGNMENT = Convention(
    "A mask has no alignment; a frame has",
    "Masks speak of absolute positions. Frame(q_len, kv_len, q_start=...) says where the first query "
    "stands. When q_len == kv_len it stands at 0; otherwise a mask that depends on the query's position "
    "needs q_start, align='start' or align='end'.",
)
EMPTY_ROWS = Convention(
    "A row that may see nothing gives exactly zero",
    "Its output and its gradient are 0.0: never NaN, never the mean of all values.",
)

CONVENTIONS = (POLARITY, WINDOW, ALIGNMENT, EMPTY_ROWS)

REFUSE = Convention(
    "Refuse, never drop",
    "A form or framework that cannot express a mask says so and names the part it cannot express.",
)
REPLACE = Convention(
    "Replace, never add",
    "Masks combine as booleans and become numbers once, at the end, where they replace a score.",
)

RULES = (REFUSE, REPLACE)
