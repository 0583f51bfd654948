"""What ``am.check`` does not get right yet: the model's name, and what has to be tried or said."""

LARGER_WEIGHTS = "needs weights scaled up 10 to 100 times"
COARSE_TYPE = "needs rounding judged in the model's own number type: float64 hides the leak"
PADDING_WAYS = "needs attention_mask all ones, and none, as situations of their own, with the pair that leaks there"
REMOVED_PADS = "needs the real tokens alone beside the same tokens with pads: left, right, and more of them"
REAL_BATCH = "needs different sequences in one batch; copies of one sequence hide what the first row decides"
BATCH_FIRST = "needs other rows tried before positions: copies in one batch are taken for a leak between positions"
MODULE_OF_BATCH = "needs the module located in the batch that leaked, not in a batch of one"
MODULE_OF_DRAW = "needs the module located with the replacement that leaked, not with another draw"
MODULE_OF_GRADIENT = "needs the module located where gradients alone see the leak (or where training mode does)"
MODULE_OF_LENGTH = "needs the module located between two lengths"

OPEN: dict[str, str] = {
    "fill -1e4": LARGER_WEIGHTS,
    "maximum of hidden keys": LARGER_WEIGHTS,
    "fill in float16": LARGER_WEIGHTS,
    "places in float16": COARSE_TYPE,
    "places in bfloat16": COARSE_TYPE,
    "attention_mask of ones": PADDING_WAYS,
    "no attention_mask": PADDING_WAYS,
    "mean over the padded length": REMOVED_PADS,
    "positions count left pads": REMOVED_PADS,
    "padding mask of the first row": REAL_BATCH,
    "documents of the first row": REAL_BATCH,
    "batch norm over the batch": REAL_BATCH,
    "shift over the flattened batch": BATCH_FIRST,
    "attention over the batch": BATCH_FIRST,
    "batch of two": MODULE_OF_BATCH,
    "expert choice": MODULE_OF_DRAW,
    "mixture of depths": MODULE_OF_DRAW,
    "sparse queries": MODULE_OF_DRAW,
    "indexer": MODULE_OF_DRAW,
    "equal to the next id": MODULE_OF_DRAW,
    "rare id": MODULE_OF_DRAW,
    "fill -50": MODULE_OF_GRADIENT,
    "is_causal hint": MODULE_OF_GRADIENT,
    "length embedding": MODULE_OF_LENGTH,
    "positions from the end": MODULE_OF_LENGTH,
    "rotary offset by the length": MODULE_OF_LENGTH,
    "rotary base by the length": MODULE_OF_LENGTH,
}
