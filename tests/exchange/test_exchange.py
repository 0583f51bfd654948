"""What all frameworks have in common: the round trip, the refusals, the first row's position."""

import dataclasses

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import FrameError, FrameworkError, InputError
from attnmask.exchange.exchange import export, frameworks, read

pytest.importorskip("torch")
pytest.importorskip("jax")

CASES = [
    (am.everything(), am.Frame(3, 5)),
    (am.causal(), am.Frame(4)),
    (am.causal(), am.Frame(2, 5, align="end")),
    (am.causal(), am.Frame(3, 6, q_start=1)),
    (am.causal(), am.Frame(5, 2, align="start")),
    (am.causal(), am.Frame(1, 6, align="end")),
    (am.window(1, 2), am.Frame(6)),
    (am.padding([3, 5]), am.Frame(2, 5)),
    (am.padding([4]), am.Frame(2, 5)),
    (am.padding(3), am.Frame(2, 5)),
    (am.causal() & am.padding([3, 5]), am.Frame(5)),
    (am.prefix([2, 1]) | am.causal(), am.Frame(5)),
    (am.documents([[0, 0, 1, 1], [0, 1, 1, 0]]) & am.causal(), am.Frame(4)),
    (am.same(am.h % 2, am.k % 2) & am.padding([4, 3]), am.Frame(3, 4, heads=4)),
    (am.documents([0, 1, 1, 1, 0]), am.Frame(2, 5, q_start=1)),
]
IDS = [f"{mask} in {frame}" for mask, frame in CASES]


@pytest.mark.parametrize("framework", frameworks())
@pytest.mark.parametrize(("mask", "frame"), CASES, ids=IDS)
def test_round_trip_keeps_every_position(framework, mask, frame):
    options = {"num_heads": frame.heads or 2} if framework == "torch.mha" else {}
    back = read(export(mask, framework, frame, **options), framework, q_start=frame.q_start or 0, **options)
    placed = dataclasses.replace(frame, q_start=frame.q_start or 0)
    there, here = np.broadcast_arrays(back.dense(placed), mask.dense(frame))
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("first", frameworks())
@pytest.mark.parametrize("second", frameworks())
def test_from_one_framework_to_another_and_back(first, second):
    """A8: the polarity flips twice."""
    frame, mask = am.Frame(2, 5, align="end"), am.causal() & am.padding([3, 5])
    right = mask.dense(frame)
    for framework in (first, second, first):
        options = {"num_heads": 1} if framework == "torch.mha" else {}
        mask = read(export(mask, framework, frame, **options), framework, q_start=3, **options)
        np.testing.assert_array_equal(mask.dense(frame), right)


def test_unknown_framework():
    text = (
        "a framework is one of jax.nn, tensorflow, torch.flex, torch.mha, torch.sdpa; got 'pytorch'. "
        "Write 'torch.sdpa' or 'torch.flex' or 'torch.mha'."
    )
    for call in (lambda: export(am.causal(), "pytorch", 3), lambda: read(np.tri(3), "pytorch")):
        with pytest.raises(FrameworkError) as caught:
            call()
        assert str(caught.value) == text


def test_export_takes_a_mask_and_a_frame_that_fit():
    with pytest.raises(InputError, match=r"export takes a Mask; got ndarray. Write am.table"):
        export(np.tri(3), "torch.sdpa", 3)
    with pytest.raises(FrameError, match="needs to know where the first query stands"):
        export(am.causal(), "torch.sdpa", am.Frame(2, 5))


@pytest.mark.parametrize("framework", ["jax.nn", "tensorflow", "torch.mha"])
def test_empty_rows_are_refused_by_name(framework):
    mask = am.causal() & am.padding(valid=[[True, True, True], [False, True, True]])
    with pytest.raises(FrameworkError, match=r"1 empty rows \(batch, head, query row\) \(1, 0, 0\) in causal\(\) &"):
        export(mask, framework, 3)
    export(mask, framework, 3, empty_rows="keep")
    with pytest.raises(FrameworkError, match="empty_rows is 'refuse' or 'keep'; got 'zero'"):
        export(mask, framework, 3, empty_rows="zero")


@pytest.mark.parametrize("framework", ["jax.nn", "torch.mha", "torch.sdpa"])
def test_unknown_arguments_are_refused(framework):
    """One that masks could be overlooked."""
    with pytest.raises(FrameworkError, match=r"got bias, block_mask. Leave out the other arguments"):
        read({"block_mask": None, "bias": None}, framework)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("sdpa", "Write 'torch.sdpa'."),
        ("flex", "Write 'torch.flex'."),
        ("mha", "Write 'torch.mha'."),
        ("jax", "Write 'jax.nn'."),
        ("torch.spda", "Write 'torch.sdpa'."),
        ("Tensorflow", "Write 'tensorflow'."),
        ("keras", "Write 'tensorflow'."),
        ("torch", "Write 'torch.flex' or 'torch.mha' or 'torch.sdpa'."),
    ],
)
def test_a_framework_that_does_not_exist_suggests_the_near_ones(name, meant):
    for ask in (
        lambda: am.export(am.causal(), name, 4),
        lambda: am.read([[True]], name),
        lambda: am.diagnose([[True]], name),
    ):
        with pytest.raises(FrameworkError) as caught:
            ask()
        assert str(caught.value).endswith(meant) or (name == "keras" and "keras" in am.frameworks())
