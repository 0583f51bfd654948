"""Stage 1: WHAT may attend to what: the language, masks, frames, notation."""
