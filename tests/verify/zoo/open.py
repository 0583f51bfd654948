"""What ``am.check`` does not get right yet: the model's name, and what has to be tried or said."""

LARGER_WEIGHTS = "found with scenarios='thorough' only: larger weights"
REMOVED_PADS = "counts positions itself and cannot be told them: right models without position_ids do just that"
MODULE_OF_GRADIENT = "needs the module located where gradients alone see the leak (or where training mode does)"

OPEN: dict[str, str] = {
    "fill -1e4": LARGER_WEIGHTS,
    "maximum of hidden keys": LARGER_WEIGHTS,
    "fill in float16": LARGER_WEIGHTS,
    "positions count left pads": REMOVED_PADS,
    "fill -50": MODULE_OF_GRADIENT,
    "is_causal hint": MODULE_OF_GRADIENT,
}
