"""Does a model really leak? Said by running it twice, with nothing of ``am.check``.

One forbidden thing is changed in the situation in which the leak is said to show; the rows that must not notice are
compared, bit by bit where both runs have the same shape.
"""

import copy
import inspect

import numpy as np
import torch
from torch import nn

import attnmask as am
from attnmask.errors import AttnmaskError
from tests.verify.zoo.blocks import VOCABULARY, Shown

STIR = 0.3  # weights as training could leave them: nothing stays exactly zero


def built(make, shown):
    """The model with stirred weights, in its mode, after the call before."""
    torch.manual_seed(0)
    model = make()
    if isinstance(model, nn.Module):
        with torch.no_grad():
            for weight in {id(weight): weight for weight in model.parameters()}.values():
                weight.add_(torch.randn_like(weight) * STIR).mul_(shown.gain)
        model.train(shown.training)
    return model


def situation(entry, shown):
    """The inputs by name, as NumPy, and the name of the one that is varied."""
    named = dict(entry.inputs) if isinstance(entry.inputs, dict) else {"": entry.inputs}
    named = {name: value for name, value in {**named, **shown.inputs}.items() if value is not None}
    vary = entry.options.get("vary") or ("decoder_input_ids" if "decoder_input_ids" in named else next(iter(named)))
    arrays = {name: np.asarray(value) for name, value in named.items()}
    return sized(arrays, vary, shown.length, shown.batch), vary


def sized(arrays, vary, length, batch):
    """Every input of the varied one's length repeated (or cut) along it, and along the batch."""
    old_batch, old = arrays[vary].shape[:2]
    columns = np.arange(length or old) % old
    rows = np.arange(batch or old_batch) % old_batch
    return {
        name: array[rows][:, columns] if array.ndim > 1 and array.shape[1] == old else array[rows]
        for name, array in arrays.items()
    }


def run(model, entry, arrays):
    """The output (batch, rows, features) of one seeded call."""
    torch.manual_seed(0)
    given = {name: like(entry, array) for name, array in arrays.items()}
    with torch.no_grad():
        result = model(given[""]) if "" in given else model(**given)
    result = entry.options.get("output", lambda result: result)(result)
    array = result.float().numpy() if isinstance(result, torch.Tensor) else np.asarray(result)
    return array.reshape(*array.shape[:2], -1), result.dtype


def like(entry, array):
    first = next(iter(entry.inputs.values())) if isinstance(entry.inputs, dict) else entry.inputs
    if isinstance(first, torch.Tensor):
        return torch.from_numpy(np.ascontiguousarray(array))
    return array if isinstance(first, np.ndarray) else _jax(array)


def _jax(array):
    import jax.numpy as jnp

    return jnp.asarray(array)


def relation(entry, arrays, vary, row, rows):
    """What each row may see (rows, length), and which rows are real."""
    length = arrays[vary].shape[1]
    dense = entry.allowed.dense(am.Frame(rows, length, q_start=0 if rows == length else None))
    allowed = dense[row if len(dense) > 1 else 0, 0]
    valid = arrays["attention_mask"][row] > 0 if len(arrays.get("attention_mask", ())) else np.ones(length, bool)
    if valid.shape != (length,):
        valid = np.ones(length, bool)
    return allowed & valid, valid if rows == length else np.ones(rows, bool)


def differ(before, after, share=0.0):
    """Which rows differ by more than a share of the largest value; NaN and infinity only equal themselves."""
    scale = np.abs(np.where(np.isfinite(before), before, 0)).max(initial=0.0)
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(invalid="ignore"):
        near = np.isfinite(before) & np.isfinite(after) & (np.abs(before - after) <= share * scale)
    return ~(same | near).all(-1)


def contents(array):
    """Other contents for any position: every id, or a few vectors, small and large."""
    if array.dtype.kind in "iu":
        return np.arange(VOCABULARY, dtype=array.dtype)
    drawn = np.random.default_rng(3).normal(size=(4, *array.shape[2:])) * [[1], [1], [5], [30]]
    return drawn.astype(array.dtype)


def by_positions(entry, make, shown):
    """Which forbidden pairs leak: (rows, length)."""
    arrays, vary = situation(entry, shown)
    model = built(make, shown)
    if shown.before:
        run(model, entry, sized(arrays, vary, shown.before, None))
    rows = run(copy.deepcopy(model), entry, arrays)[0].shape[1]
    allowed, real = relation(entry, arrays, vary, shown.row, rows)
    forbidden = ~allowed & real[:, None]
    leaks = np.zeros(allowed.shape, bool)
    alone = shown.batch is None
    if alone:
        arrays = {name: array[shown.row : shown.row + 1] for name, array in arrays.items()}
    tried = [(key, value) for key in np.flatnonzero(forbidden.any(0)) for value in contents(arrays[vary])]
    for part in [tried] if alone and tried else [[each] for each in tried]:
        # All variants of a single sequence run as one batch, beside as many copies of it: equal shapes, equal bits.
        same = sized(arrays, vary, None, len(part) if alone else None)
        changed = same[vary].copy()
        places = range(len(part)) if alone else [shown.row]
        for place, (key, value) in zip(places, part, strict=True):
            changed[place, key] = value
        before = run(copy.deepcopy(model), entry, same)[0]
        after = run(copy.deepcopy(model), entry, {**same, vary: changed})[0]
        for place, (key, _) in zip(places, part, strict=True):
            leaks[:, key] |= differ(before[place], after[place], entry.rounding)
    return leaks & forbidden


def by_batch(entry, make, shown):
    """Whether one sequence depends on the others."""
    arrays, vary = situation(entry, shown)
    arrays = sized(arrays, vary, None, max(2, len(arrays[vary])))
    model = built(make, shown)
    before = run(copy.deepcopy(model), entry, arrays)[0]
    leaks = False
    for value in contents(arrays[vary])[::3]:  # a few are enough where every position changes
        changed = arrays[vary].copy()
        changed[np.arange(len(changed)) != shown.row] = value
        after = run(copy.deepcopy(model), entry, {**arrays, vary: changed})[0]
        leaks |= bool(differ(before[shown.row], after[shown.row], entry.rounding).any())
    return leaks


def by_length(entry, make, shown):
    """Whether rows change when what they must not see is cut off behind them."""
    arrays, vary = situation(entry, shown)
    model = built(make, shown)
    whole, dtype = run(copy.deepcopy(model), entry, arrays)
    allowed, real = relation(entry, arrays, vary, shown.row, whole.shape[1])
    leaks = False
    for cut in (len(real) // 2, len(real) - 1):
        part = run(copy.deepcopy(model), entry, sized(arrays, vary, cut, None))[0]
        rows = real[:cut] & ~allowed[:cut, cut:].any(1)
        leaks |= (differ(whole[shown.row, :cut], part[shown.row], coarse(dtype)) & rows).any()
    return leaks


def by_pads(entry, make, shown):
    """Whether the real rows change when the pads are removed."""
    arrays = situation(entry, shown)[0]
    model = built(make, shown)
    whole, dtype = run(copy.deepcopy(model), entry, arrays)
    mask = arrays["attention_mask"]
    real = np.flatnonzero(mask[shown.row])
    bare = {name: array[:, real] if array.shape[:2] == mask.shape else array for name, array in arrays.items()}
    part = run(copy.deepcopy(model), entry, bare)[0][shown.row]
    kept = whole[shown.row, real] if whole.shape[1] == mask.shape[1] else whole[shown.row]
    return bool(differ(kept, part, coarse(dtype)).any())


def by_state(entry, make, shown):
    """Whether the call before, on other inputs, changes the result."""
    arrays, vary = situation(entry, shown)
    model = built(make, shown)
    fresh = run(copy.deepcopy(model), entry, arrays)[0]
    run(model, entry, {**arrays, vary: arrays[vary][:, ::-1].copy()})
    return bool(differ(fresh[shown.row], run(model, entry, arrays)[0][shown.row]).any())


def coarse(dtype):
    """Runs of different shapes differ by rounding."""
    return min(0.2, 256 * torch.finfo(dtype).eps) if isinstance(dtype, torch.dtype) else 3e-5


CHANGED = {"positions": by_positions, "batch": by_batch, "length": by_length, "pads": by_pads, "state": by_state}


def leaks(entry, make, shown):
    """What leaks in a situation: pairs (rows, length) for positions, else one bool."""
    return CHANGED[shown.by](entry, make, shown)


def really_leaks(entry):
    """The first pair that leaks in the situation where it shows; True where the leak has no pair; None if nothing."""
    found = leaks(entry, entry.broken, entry.shown)
    if entry.shown.by != "positions":
        return bool(found) or None
    return tuple(int(place) for place in np.argwhere(found)[0]) if found.any() else None


def grows(mask):
    """Whether a mask says something about longer sequences."""
    try:
        mask.dense(16)
    except AttnmaskError:
        return False
    return True


def situations(entry, make):
    """Every situation in which a right model has to be right; for a twin, also where the broken one leaks."""
    torch.manual_seed(0)
    model = make()
    module = isinstance(model, nn.Module)
    if getattr(entry, "shown", Shown()) != Shown():
        yield entry.shown
    yield Shown()
    yield Shown(by="batch")
    yield Shown(by="state")
    if module:
        yield Shown(training=True)
        yield Shown(gain=100.0)
    if not isinstance(entry.inputs, dict) and grows(entry.allowed):
        yield Shown(by="length")
        yield Shown(length=16)
    if module and "attention_mask" in inspect.signature(model.forward).parameters:
        yield from (Shown(by="pads"), Shown(inputs={"attention_mask": None}))
