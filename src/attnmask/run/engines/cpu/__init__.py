"""attnmask's own kernel for CPUs."""

LIBRARY = "torch"
