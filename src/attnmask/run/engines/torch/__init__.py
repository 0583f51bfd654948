"""torch's own kernels."""
