"""All models of the zoo, by name."""

from tests.verify.zoo import causal_masks, mixing, modes, packed, padded, plain_functions, precision, routing, unseen

THEMES = (causal_masks, modes, mixing, routing, unseen, padded, packed, precision, plain_functions)
LEAKING = {entry.name: entry for theme in THEMES for entry in theme.LEAKING}
RIGHT = {entry.name: entry for theme in THEMES for entry in theme.RIGHT}
