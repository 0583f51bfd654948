"""What the benchmark says in words, for figures that are made up."""

import json

import pytest

from attnmask.explain.bench import Bench, busy

torch_bench = pytest.importorskip("attnmask.bench.torch_beside")


def bench(forward, training):
    """A report of two ratios."""
    seconds = [{"attnmask": 0.01, "SDPA, dense mask": 0.01 * ratio} for ratio in (forward, training)]
    works = zip(torch_bench.WORKS, seconds, strict=True)
    return Bench(tuple(torch_bench.Cell("window", 2048, work, 0.117, took) for work, took in works), "2 cores")


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        (
            (4.0, 3.0),
            "window at 2,048: use am.attention, 4.0 times as fast in the forward pass and 3.0 times as fast in training",
        ),
        ((0.5, 0.4), "window at 2,048: use SDPA, dense mask here; am.attention is 0.5 times as fast"),
        ((1.05, 0.95), "window at 2,048: no difference to SDPA, dense mask."),
        ((2.0, 0.9), "window at 2,048: it depends on the work: am.attention is 2.0 times as fast"),
    ],
)
def test_advice(ratios, said):
    (line,) = bench(*ratios).advice()
    assert line.startswith(said)


def test_table_and_json():
    found = bench(4.0, 3.0)
    assert "window  2,048   forward   11.7 %   10.00 ms  40.00 ms (SDPA, dense mask)  4.00" in found.text()
    assert json.loads(found.to_json())["cells"][1]["ratio"] == pytest.approx(3.0)
    assert "<table" in found.html()


def test_no_peer_and_a_busy_machine():
    cell = torch_bench.Cell("window", 99_999, "forward", 0.1, {"attnmask": 1.0})
    found = Bench((cell,), "2 cores", busy(3.0, 2))
    assert found.advice() == ["window at 99,999: only am.attention could run it."]
    assert "too long for a dense mask" in found.text()
    assert "Other programs were running (load 3.0 on 2 cores)" in found.text()
