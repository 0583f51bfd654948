"""Stage 2: a mask and a frame become a concrete form."""
