"""Stage 4: a mask with query, key and value becomes an output."""
