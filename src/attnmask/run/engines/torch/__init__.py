"""torch's own kernels."""

LIBRARY = "torch"
