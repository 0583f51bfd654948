"""Masks as text: printed as the expression that makes them, and read back."""
