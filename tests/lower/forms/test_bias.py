"""The additive form: values per dtype, and what happens to rows that see nothing."""

import numpy as np
import pytest
import torch

import attnmask as am
from attnmask.errors import LoweringError
from attnmask.lower.fills import rounded

LOWEST = {"float16": -65504.0, "bfloat16": -3.3895313892515355e38, "float32": -3.4028234663852886e38}


def test_values_by_hand():
    assert am.lower(am.causal(), 2, "bias").tolist() == [[[[0.0, -np.inf], [0.0, 0.0]]]]
    assert am.lower(am.causal(), am.Frame(1, 3, q_start=1), "bias", fill="finite", dtype="float16").tolist() == [
        [[[0.0, 0.0, -65504.0]]]
    ]


@pytest.mark.parametrize("dtype", LOWEST)
def test_finite_fill_is_the_lowest_number_of_the_dtype(dtype):
    bias = am.lower(am.causal(), 2, "bias", dtype=dtype, fill="finite")
    assert bias[0, 0, 0, 1] == LOWEST[dtype] == torch.finfo(getattr(torch, dtype)).min
    assert torch.from_numpy(bias).to(getattr(torch, dtype)).isfinite().all()


@pytest.mark.parametrize("dtype", [np.float64, "float64", torch.float64, np.dtype("float64")])
def test_dtypes_of_all_libraries(dtype):
    assert am.lower(am.causal(), 2, "bias", dtype=dtype).dtype == np.float64


@pytest.mark.parametrize("fill", ["-inf", "finite"])
def test_empty_rows_are_refused_and_named(fill):
    mask = am.causal() & am.padding([2, 3], side="left", kv_len=4)
    with pytest.raises(LoweringError) as caught:
        am.lower(mask, 4, "bias", fill=fill)
    assert "3 empty rows (batch, head, query row) (0, 0, 0), (0, 0, 1), (1, 0, 0)" in caught.value.got
    assert ("NaN" if fill == "-inf" else "mean of all values") in caught.value.rule
    kept = am.lower(mask, 4, "bias", fill=fill, empty_rows="keep")
    assert (kept[0, 0, 0] < -1e38).all()


@pytest.mark.parametrize("options", [{"dtype": "int32"}, {"fill": "zero"}, {"empty_rows": "zero"}])
def test_refusals(options):
    with pytest.raises(LoweringError):
        am.lower(am.causal(), 2, "bias", **options)


@pytest.mark.parametrize("value", [-1e9, -1e4, 1.0, -3.0e38, 1e-3, -65519.0, -65520.0, float("-inf")])
def test_rounding_is_that_of_torch(value):
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        expected = (
            torch.tensor(value, dtype=torch.float64).float()
            if dtype == "bfloat16"
            else torch.tensor(value, dtype=torch.float64)
        )
        assert float(rounded(value, dtype)) == float(expected.to(getattr(torch, dtype)).double())
