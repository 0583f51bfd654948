"""One form for all spellings of a mask: sums made linear, laws applied, known kinds written by their names."""
