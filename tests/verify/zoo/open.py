"""What ``am.check`` does not get right yet: the model's name, and what has to be tried or said."""

REMOVED_PADS = "counts positions itself and cannot be told them: right models without position_ids do just that"

OPEN: dict[str, str] = {
    "positions count left pads": REMOVED_PADS,
}
