"""Stage 6: show a mask, say why a position is visible, and work attention through by hand."""
