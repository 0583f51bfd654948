"""What ``am.check`` does not get right yet: the model's name, and what has to be tried or said."""

REMOVED_PADS = "needs pads on the left removed, which right models without positions of their own do not survive"
REAL_BATCH = "needs different documents, or sequences, in one batch as they are given"
SAID_OF_THE_BATCH = "is found as a leak of the batch, not of the pads in it"

OPEN: dict[str, str] = {
    "positions count left pads": REMOVED_PADS,
    "padding mask of the first row": SAID_OF_THE_BATCH,
    "documents of the first row": REAL_BATCH,
    "batch norm over the batch": REAL_BATCH,
}
