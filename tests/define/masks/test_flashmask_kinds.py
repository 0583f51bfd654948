"""The twelve kinds of FlashMask, each as its row indices per key column and as an attnmask expression."""

import numpy as np
import pytest

import attnmask as am

N = 12
LENGTHS = [5, 3, 4]
FIRST = np.repeat(np.cumsum([0, *LENGTHS[:-1]]), LENGTHS)  # of the document, per position
LAST = np.repeat(np.cumsum(LENGTHS), LENGTHS)
COLUMNS = np.arange(N)
DOCUMENTS = am.documents(lengths=LENGTHS)


def decoded(causal, *bounds):
    """The dense mask of one to four row indices per column, by the definition of FlashMask.

    Causal: rows from start (to end) are masked, and the future. Else the first half tells of the rows below, the
    second half of those above: one number each (from start; up to end), or two (from start to end).
    """
    rows = np.arange(N)[:, None]
    below = bounds if causal else bounds[: len(bounds) // 2]
    above = () if causal else bounds[len(bounds) // 2 :]
    masked = (rows < COLUMNS) if causal else np.zeros((N, N), bool)
    if below:
        masked = masked | ((rows >= below[0]) & (rows < (below[1] if len(below) == 2 else N)))
    if above:
        masked = masked | ((rows < above[-1]) & (rows >= (above[0] if len(above) == 2 else 0)))
    return ~masked


def share_question():
    """Two questions; the first has two answers, the second one: a question's columns last until its answers end."""
    sees_until = np.repeat([7, 5, 7, 12, 12], [3, 2, 2, 2, 3])
    return decoded(True, sees_until), am.shared_prefix([3, 2, 2, 2, 3], parents=[-1, 0, 0, -1, 3])


def causal_blockwise():
    """Demonstrations see themselves only, and the last block, the question, sees them all."""
    start, end = LAST, np.where(FIRST[-1] > COLUMNS, FIRST[-1], N)
    return decoded(True, start, end), am.causal() & (DOCUMENTS | (am.q >= int(FIRST[-1])))


def prefix_document():
    """Each document begins with a prefix that sees itself in both directions."""
    in_prefix = np.repeat([2, 3, 1], LENGTHS) > COLUMNS - FIRST
    above = np.where(in_prefix, FIRST, COLUMNS)
    return decoded(False, LAST, above), DOCUMENTS & (am.causal() | am.lookup(in_prefix, am.k))


def qk_sparse():
    """Queries and keys of two spans do not meet each other inside the span."""
    spans = np.array([-1, -1, 0, 0, 0, -1, -1, 1, 1, -1, -1, -1])
    ends = np.select([spans == 0, spans == 1], [5, 9], COLUMNS)
    return decoded(True, COLUMNS, ends), am.causal() - am.images(spans)


def global_window():
    """The first two tokens see all and are seen by all, beside a window of 3 and 2."""
    count, left, right = 2, 3, 2
    kept = count > COLUMNS
    down = np.where(kept, 0, COLUMNS + left + 1), np.where(kept, 0, N)
    up = np.where(kept, 0, count), np.where(kept, 0, COLUMNS - right)
    return decoded(False, *down, *up), am.window(left, right) | am.landmarks(range(count))


def random_eviction():
    """From row 6 on, one key leaves the cache at each step."""
    gone = np.full(N, N + 1)
    gone[[4, 1, 6, 0, 8, 3]] = np.arange(6, N)
    return decoded(True, gone), am.causal() & (am.q < am.lookup(gone, am.k))


KINDS = {
    "full": lambda: (decoded(False), am.everything()),
    "causal": lambda: (decoded(True), am.causal()),
    "sliding window": lambda: (decoded(True, COLUMNS + 4), am.window(3)),
    "causal document": lambda: (decoded(True, LAST), am.causal() & DOCUMENTS),
    "document": lambda: (decoded(False, LAST, FIRST), DOCUMENTS),
    "share question": share_question,
    "global and sliding window": global_window,
    "causal blockwise": causal_blockwise,
    "prefix document": prefix_document,
    "prefix causal": lambda: (
        decoded(False, np.full(N, N), np.where(COLUMNS < 4, 0, COLUMNS)),
        am.prefix(4) | am.causal(),
    ),
    "qk sparse": qk_sparse,
    "random eviction": random_eviction,
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_an_expression(name):
    theirs, ours = KINDS[name]()
    assert np.array_equal(ours.dense(N)[0, 0], theirs)
    assert am.parse(repr(ours)) == ours


def test_all_twelve_are_here_and_differ():
    assert len(KINDS) == 12
    assert len({kind()[0].tobytes() for kind in KINDS.values()}) == 12
