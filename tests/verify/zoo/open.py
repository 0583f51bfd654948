"""What ``am.check`` does not get right yet: the model's name, and what has to be tried or said."""

OPEN: dict[str, str] = {}
