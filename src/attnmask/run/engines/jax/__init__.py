"""JAX's own attention."""
