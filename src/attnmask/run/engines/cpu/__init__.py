"""attnmask's own kernel for CPUs."""
