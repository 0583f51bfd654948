"""The engine of NumPy arrays, and the oracle for all others."""

LIBRARY = "numpy"
