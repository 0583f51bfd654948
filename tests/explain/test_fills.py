"""Why -1e9?, against numbers worked out by hand.

Spacing of the numbers near the fill decides: float16 near 1e4 has steps of 8, bfloat16 of 64; float32 near 1e9
has steps of 64, near 1e4 of 2 ** -10; float64 near 1e9 of 2 ** -23. Scores 2, 1, 0 vanish in steps that are larger.
"""

import math

import pytest

from attnmask.explain.fills import NAN, UNIFORM, UNMASKED, study
from attnmask.explain.worked import explain

ROWS = {(row.dtype, row.fill): row for row in study()}


@pytest.mark.parametrize(
    ("dtype", "fill", "stored", "empty_row", "twice"),
    [
        ("float16", "-inf", -math.inf, NAN, -math.inf),
        ("float16", "-1e9", -math.inf, NAN, -math.inf),  # beyond 65504
        ("float16", "-1e4", -10000, UNIFORM, -20000),
        ("float16", "finfo.min", -65504, UNIFORM, -math.inf),
        ("bfloat16", "-inf", -math.inf, NAN, -math.inf),
        ("bfloat16", "-1e9", -238 * 2**22, UNIFORM, -238 * 2**23),  # 1e9 / 2 ** 22 is 238.4
        ("bfloat16", "-1e4", -156 * 64, UNIFORM, -156 * 128),  # 1e4 / 64 is 156.25
        ("bfloat16", "finfo.min", -255 * 2.0**120, UNIFORM, -math.inf),
        ("float32", "-inf", -math.inf, NAN, -math.inf),
        ("float32", "-1e9", -1e9, UNIFORM, -2e9),
        ("float32", "-1e4", -1e4, UNMASKED, -2e4),
        ("float32", "finfo.min", -(2 - 2.0**-23) * 2.0**127, UNIFORM, -math.inf),
        ("float64", "-inf", -math.inf, NAN, -math.inf),
        ("float64", "-1e9", -1e9, UNMASKED, -2e9),
        ("float64", "-1e4", -1e4, UNMASKED, -2e4),
        ("float64", "finfo.min", -(2 - 2.0**-52) * 2.0**1023, UNIFORM, -math.inf),
    ],
)
def test_what_a_fill_does(dtype, fill, stored, empty_row, twice):
    row = ROWS[dtype, fill]
    assert (row.stored, row.empty_row_is, row.twice) == (stored, empty_row, twice)
    assert row.exp == 0.0
    assert row.undone == (0.5 if fill == "-1e4" else 0.0)


def test_only_minus_1e4_is_learned_away():
    assert {fill for (_, fill), row in ROWS.items() if row.undone > 0} == {"-1e4"}


def test_the_unmasked_row_is_the_softmax_of_its_scores():
    total = math.exp(2) + math.exp(1) + 1
    assert ROWS["float64", "-1e9"].empty_row == pytest.approx((math.exp(2) / total, math.exp(1) / total, 1 / total))


def test_verdicts():
    assert ROWS["float32", "-1e4"].verdict == "empty rows unmasked; learned away"
    assert ROWS["float16", "finfo.min"].verdict == "empty rows leak; overflows"
    assert ROWS["float16", "-1e9"].verdict == "empty rows are NaN"


def test_no_fill_is_without_fault():
    assert len(ROWS) == 16
    assert all(row.verdict for row in ROWS.values())


def test_the_answer_is_in_the_document():
    text = explain("Hello there").text()
    assert "float16   -1e9       -inf       0    NaN                 -inf    0     empty rows are NaN" in text
    for words in (
        "exp(-1e9) underflows to exactly 0",
        "uniform over everything",
        "learned away",
        "Replacing beats adding",
    ):
        assert words in text
