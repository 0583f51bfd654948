"""Which members of each kind an array may be made of: one function per kind, listed in ``MEMBERS``.

A function takes a ``View`` and gives masks that may be part of the description: the smallest of its kind that contain
what must be visible, and the largest inside what may be. A guess need not fit, for it is compared with the array; it only
has to come. What is hidden is offered to the same functions, and their answers are taken with ``~``. Usual names come
first: of two equally short descriptions the earlier one is taken.

To add a kind, write its function and put it in the list.
"""

from collections.abc import Callable, Iterator

from attnmask.define.mask import Mask
from attnmask.exchange.recognition.members import blocks, columns, grids, groups, relative, rows, trees
from attnmask.exchange.recognition.view import View

MEMBERS: list[Callable[[View], Iterator[Mask]]] = [
    relative.causals,
    relative.windows,
    columns.single_keys,
    columns.paddings,
    columns.beginnings,
    groups.chunks,
    groups.packed,
    relative.dilations,
    relative.strides,
    columns.landmark_tokens,
    grids.grids,
    groups.equal_ids,
    groups.image_tokens,
    trees.trees,
    blocks.patterns,
    relative.single_distances,
    rows.first_queries,
    rows.single_queries,
    relative.windows_of_each,
    relative.steps_of_each,
    relative.tables_of_distances,
]
