"""Selections: what is selected, against the definition read aloud; outputs and gradients against the oracle."""

import functools
import importlib
import math
import pkgutil
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attnmask as am
from attnmask.define import selections as folder
from attnmask.define.fit import fit
from attnmask.errors import FrameError, InputError
from attnmask.lower import chunks as chunking
from attnmask.run import selected as registry
from attnmask.run.selected import numpy as oracle
from tests.strategies import frames, kinds

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

RULE_FILES = [file.name for file in pkgutil.iter_modules(folder.__path__)]
LIBRARIES = {"numpy": np.asarray, "torch": torch.tensor, "jax": jax.numpy.asarray}


def examples():
    modules = [importlib.import_module(f"{folder.__name__}.{name}") for name in RULE_FILES]
    own = [
        (am.causal() & am.top_k_blocks(2, 2) & am.top_k(3), am.Frame(8)),  # two rules
        (am.causal() & am.top_k(2) & am.threshold(0.0) & am.padding([6, 2, 0]), am.Frame(6)),
        (am.causal() & am.top_k_blocks(1, 3) & am.top_k_blocks(2, 2), am.Frame(9)),
        (am.documents(lengths=[4, 5]) & am.top_k_blocks(1, 2), am.Frame(9)),
        (am.dilated(2) & am.top_k_blocks(2, 3), am.Frame(9)),  # holes in every block
        (am.same(am.h % 2, am.k % 2) & am.top_k(2), am.Frame(5, heads=4)),
        (am.causal() & am.top_k(100) & am.top_k_blocks(100, 100), am.Frame(5)),  # all there is
        (am.nothing() & am.top_k(2), am.Frame(4)),
    ]
    return [pair for module in modules for pair in module.EXAMPLES] + own


EXAMPLES = examples()
NAMES = [f"{selection} in {frame}" for selection, frame in EXAMPLES]


def call(selection, frame, *, whole=False, dim=4, dim_v=3):
    """q, k, v and a gradient of the output, with grouped heads; of small whole numbers, so that scores are equal often."""
    fitted = fit(selection.mask, frame)
    batch, heads = (fitted.batch if fitted.batch > 1 else 2), fitted.heads if fitted.heads > 1 else 4
    random = np.random.default_rng(len(repr(selection)))
    sizes = [(heads, frame.q_len, dim), (2, frame.kv_len, dim), (2, frame.kv_len, dim_v), (heads, frame.q_len, dim_v)]
    draw = functools.partial(random.integers, -1, 2) if whole else lambda size: random.standard_normal(size)
    return [draw(size=(batch, *size)).astype(float) for size in sizes]


def settled(frame):
    return am.Frame(frame.q_len, frame.kv_len, q_start=frame.q_start, heads=frame.heads)


quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)


@pytest.fixture(params=[1, 3, None], ids=["1 row", "3 rows", "1 chunk"])
def rows(request, monkeypatch):
    """Chunks of so many rows; None for one chunk."""
    if request.param:
        for module in (
            chunking,
            *(importlib.import_module(f"{registry.__name__}.{name}") for name in ("torch", "jax")),
        ):
            monkeypatch.setattr(module, "rows_of", lambda copies, frame: min(request.param, frame.q_len))
    return request.param


# The definition, one query at a time, in exact arithmetic.


def by_definition(rule, query, keys, visible):
    """The keys that a rule selects, of the positions that are visible."""
    score = {at: sum(Fraction(x) * Fraction(y) for x, y in zip(query, keys[at], strict=True)) for at in visible}
    best_first = functools.partial(sorted, key=lambda at: (-score[at], at))
    if rule.name == "threshold":
        return {at for at in visible if score[at] >= rule.args[0]}
    if rule.name == "top_k":
        return set(best_first(visible)[: rule.args[0]])
    count, size = rule.args
    blocks = {}
    for at in visible:
        blocks.setdefault(at // size, []).append(at)
    means = {
        j: [sum(Fraction(keys[at][i]) for at in held) / len(held) for i in range(len(query))]
        for j, held in blocks.items()
    }
    rank = {j: sum(Fraction(x) * y for x, y in zip(query, mean, strict=True)) for j, mean in means.items()}
    taken = sorted(blocks, key=lambda j: (-rank[j], j))[:count]
    return {at for j in taken for at in blocks[j]}


def read_aloud(q, k, selection, frame):
    visible = np.broadcast_to(selection.mask.dense(frame), (*q.shape[:3], k.shape[2]))
    taken = np.zeros(visible.shape, bool)
    for b, h, row in np.ndindex(q.shape[:3]):
        keys = k[b, h // (q.shape[1] // k.shape[1])].tolist()
        seen = np.flatnonzero(visible[b, h, row]).tolist()
        chosen = [by_definition(rule, q[b, h, row].tolist(), keys, seen) for rule in selection.rules]
        taken[b, h, row, sorted(set.intersection(*chosen))] = True
    return taken


def selected_in(library, q, k, selection, frame):
    """What a library takes: where its weights are not 0. Scores are small, so no weight of a selected key vanishes."""

    def weights(q, k):
        return am.attention_weights(q, k, selection, frame=frame, scale=1.0)

    convert = LIBRARIES[library]
    run = quick_jit(weights) if library == "jax" else weights
    return np.asarray(run(convert(q.astype("float32")), convert(k.astype("float32")))) > 0


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("selection", "frame"), EXAMPLES, ids=NAMES)
def test_selected_by_definition(selection, frame, library):
    for whole in (True, False):
        q, k, _, _ = call(selection, frame, whole=whole)
        q, k = q.astype("float32"), k.astype("float32")
        np.testing.assert_array_equal(selected_in(library, q, k, selection, frame), read_aloud(q, k, selection, frame))


rules = st.one_of(
    st.builds(am.top_k, st.integers(1, 4)),
    st.builds(am.top_k_blocks, st.integers(1, 3), st.integers(1, 4)),
    st.builds(am.threshold, st.integers(-2, 2)),
)
numbers = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@settings(max_examples=60)
@given(kinds, rules, rules, frames(), numbers)
def test_property_selected_by_definition(mask, first, second, frame, random):
    """Any mask, ties included: exactly the same pairs in all libraries."""
    selection = mask & first & second
    q = random.integers(-1, 2, (2, 2, frame.q_len, 2)).astype(float)
    k = random.integers(-1, 2, (2, 1, frame.kv_len, 2)).astype(float)
    right = read_aloud(q, k, selection, frame)
    for library in ("numpy", "torch"):
        np.testing.assert_array_equal(selected_in(library, q, k, selection, frame), right, err_msg=library)


@settings(max_examples=60)
@given(kinds, rules, frames(), numbers)
def test_property_nothing_hidden_counts(mask, rule, frame, random):
    """Whatever is hidden from a query, also NaN and huge numbers, changes neither what it takes nor its weights."""
    q, k = random.standard_normal((2, 2, frame.q_len, 2)), random.standard_normal((2, 1, frame.kv_len, 2))
    visible = np.broadcast_to(mask.dense(frame), (2, 2, frame.q_len, frame.kv_len))
    row = int(random.integers(frame.q_len))
    hidden = ~visible[:, :, row].any(1)
    for worst in (np.nan, np.inf, 1e30, -1e30):
        changed = np.where(hidden[:, None, :, None], worst, k)
        for convert in (np.asarray, torch.tensor):
            with np.errstate(all="ignore"):
                before, after = (
                    np.asarray(am.attention_weights(convert(q), convert(keys), mask & rule, frame=frame))[:, :, row]
                    for keys in (k, changed)
                )
            np.testing.assert_array_equal(before, after)
            assert not after[~visible[:, :, row]].any()


# Output and gradients.


def right_results(selection, frame):
    q, k, v, grad = call(selection, frame)
    arguments = (selection, settled(frame), 1 / math.sqrt(q.shape[3]))
    return oracle.attention(q, k, v, *arguments), *oracle.gradients(q, k, v, grad, *arguments)


def in_torch(selection, frame, dtype):
    *arrays, grad = (torch.tensor(array, dtype=dtype) for array in call(selection, frame))
    arrays = [array.requires_grad_() for array in arrays]
    output = am.attention(*arrays, selection, frame=frame)
    assert output.dtype == dtype
    return [part.detach().double().numpy() for part in (output, *torch.autograd.grad(output, arrays, grad))]


def in_jax(selection, frame, transform):
    *arrays, grad = (jax.numpy.asarray(array, "float32") for array in call(selection, frame))

    @transform
    def run(*arrays):
        output, pull = jax.vjp(lambda *qkv: am.attention(*qkv, selection, frame=frame), *arrays)
        return output, *pull(grad)

    return [np.asarray(part) for part in run(*arrays)]


def assert_same(results, selection, frame, tolerance):
    for name, result, right in zip(("output", "dq", "dk", "dv"), results, right_results(selection, frame), strict=True):
        np.testing.assert_allclose(result, right, rtol=tolerance, atol=tolerance, err_msg=f"{name} of {selection}")
    empty = np.broadcast_to(selection.mask.empty_rows(frame), results[0].shape[:3])
    assert not results[0][empty].any(), "output of empty rows"
    assert not results[1][empty].any(), "dq of empty rows"


@pytest.mark.parametrize(("selection", "frame"), EXAMPLES, ids=NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_torch(selection, frame, dtype, rows):
    assert_same(in_torch(selection, frame, dtype), selection, frame, 20 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(("selection", "frame"), EXAMPLES, ids=NAMES)
def test_jax(selection, frame, rows):
    assert_same(in_jax(selection, frame, quick_jit), selection, frame, 4e-6)


@pytest.mark.parametrize(("selection", "frame"), EXAMPLES[:3], ids=NAMES[:3])
def test_jax_outside_of_jit(selection, frame, rows):
    assert_same(in_jax(selection, frame, lambda same: same), selection, frame, 4e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("selection", "frame"), EXAMPLES, ids=NAMES)
def test_torch_half_precision(selection, frame, dtype, monkeypatch):
    """Selected as in float64 from the rounded inputs: scores are not rounded to the format of q before ranking."""
    rounded = [torch.tensor(array, dtype=dtype).double().numpy() for array in call(selection, frame)]
    monkeypatch.setitem(globals(), "call", lambda selection, frame: rounded)
    assert_same(in_torch(selection, frame, dtype), selection, frame, 8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_ranked_in_float32(library, dtype):
    """Scores of 300 keys, many of them equal once they are rounded."""
    array = torch.randn(3, 1, 1, 300, 16, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    q, k = array[:2].double().numpy()
    half = [part if library == "torch" else jax.numpy.asarray(part.float().numpy(), dtype) for part in array[:2]]
    for selection in (am.causal() & am.top_k(5), am.causal() & am.top_k_blocks(3, 8)):
        weights = am.attention_weights(*half, selection, scale=0.05)
        weights = np.asarray(weights.float() if library == "torch" else weights.astype("float32"))
        taken = am.attention_weights(q, k, selection, scale=0.05) > 0
        assert ((weights > 0) != taken).sum() <= 2  # scores that differ by less than float32 can tell


@pytest.mark.parametrize(("selection", "frame"), EXAMPLES, ids=NAMES)
def test_oracle_gradients_are_slopes(selection, frame):
    """Central differences, with no formula; a step is too small to change what is selected."""
    q, k, v, grad = call(selection, frame)
    gradients = right_results(selection, frame)[1:]
    for place, gradient in enumerate(gradients):
        direction = np.random.default_rng(place).standard_normal(gradient.shape)
        sides = []
        for sign in (1, -1):
            moved = [array + sign * 1e-6 * direction if at == place else array for at, array in enumerate((q, k, v))]
            sides.append((am.attention(*moved, selection, frame=frame) * grad).sum())
        assert (gradient * direction).sum() == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-7)


def test_no_nan_on_the_way(rows):
    """Empty rows and hidden NaN: neither library meets a NaN that is masked later."""
    selection = am.causal() & am.padding([4, 0]) & am.top_k_blocks(1, 2)
    arrays = [torch.randn(2, 2, 6, 4, requires_grad=True) for _ in range(3)]
    with torch.autograd.set_detect_anomaly(True):
        for gradient in torch.autograd.grad(am.attention(*arrays, selection).square().sum(), arrays):
            assert gradient.isfinite().all()
            assert not gradient[1].any()
    with jax.debug_nans(True):
        q = jax.numpy.asarray(arrays[0].detach().numpy())
        assert not np.asarray(jax.grad(lambda q: (am.attention(q, q, q, selection) ** 2).sum())(q)[1]).any()


@pytest.mark.parametrize("library", LIBRARIES)
def test_visible_nan_is_not_dropped_in_silence(library):
    """Were it ranked lowest, the output would look healthy."""
    k = np.zeros((1, 1, 3, 2), "float32")
    k[0, 0, 1] = np.nan
    arrays = [LIBRARIES[library](array) for array in (np.ones_like(k), k, np.ones_like(k))]
    for rule in (am.top_k(1), am.top_k_blocks(1, 2), am.threshold(5.0)):
        with np.errstate(invalid="ignore"):
            output = np.asarray(am.attention(*arrays, am.causal() & rule))[0, 0]
        assert np.isnan(output[1:]).all(), rule
        assert not np.isnan(output[0]).any(), rule


# Memory.


@pytest.mark.parametrize("backward", [False, True])
def test_no_array_of_all_pairs(backward):
    """The largest tensor that torch makes, and all that is kept for the way back, are far smaller than all scores."""
    n = 8192
    arrays = [torch.randn(1, 1, n, 8, requires_grad=backward) for _ in range(3)]
    largest, kept = [0], [0]

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for tensor in torch.utils._pytree.tree_leaves(result):
                if isinstance(tensor, torch.Tensor):
                    largest[0] = max(largest[0], tensor.untyped_storage().nbytes())
            return result

    def keep(tensor):
        kept[0] += tensor.numel() * tensor.element_size()
        return tensor

    selection = am.causal() & am.window(700) & am.top_k_blocks(2, 64)
    with Watch(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = am.attention(*arrays, selection)
        if backward:
            output.sum().backward()
    assert largest[0] <= 5 * chunking.SCORES
    assert largest[0] < n * n
    assert kept[0] <= (n * n // 4 if backward else 0)


def test_jax_has_no_array_of_all_pairs():
    n = 16384
    array = jax.ShapeDtypeStruct((1, 1, n, 8), "float32")
    selection = am.causal() & am.top_k(4)
    step = jax.jit(jax.grad(lambda q, k, v: am.attention(q, k, v, selection).sum(), (0, 1, 2)))
    used = step.lower(array, array, array).compile().memory_analysis()
    assert used.temp_size_in_bytes < n * n // 2


# The call.


def test_every_rule_is_in_every_library():
    for library in LIBRARIES:
        assert sorted(importlib.import_module(f"{registry.__name__}.{library}").RULES) == sorted(RULE_FILES)


def test_refusals():
    q = np.ones((2, 1, 3, 4))
    with pytest.raises(InputError) as caught:
        am.attention(q, q, q, am.top_k(2), engine="torch")
    assert str(caught.value) == (
        "a selection is computed by the engine of the arrays' library; got engine='torch' for arrays of numpy. "
        "Leave engine out."
    )
    assert am.attention(q, q, q, am.top_k(2), engine="numpy").shape == q.shape
    with pytest.raises(FrameError, match="needs to know where the first query stands"):
        am.attention(q[:, :, :1], q, q, am.causal() & am.top_k(2))
    with pytest.raises(FrameError, match="Build the mask for batch 2"):
        am.attention(q, q, q, am.padding([1, 2, 3]) & am.top_k(2))
    with pytest.raises(InputError, match="v has the batch, heads and length of k"):
        am.attention(q, q, q[:, :, :2], am.top_k(2))


def test_scale_counts_for_scores():
    q = torch.ones(1, 1, 1, 1)
    k = torch.tensor([1.0, 3.0]).reshape(1, 1, 2, 1)
    weights = functools.partial(am.attention_weights, q, k)
    assert weights(am.threshold(2.0), scale=1.0).flatten().tolist() == [0, 1]
    assert weights(am.threshold(2.0), scale=0.5).flatten().tolist() == [0, 0]
    assert weights(am.top_k(1), scale=-1.0).flatten().tolist() == [1, 0]
