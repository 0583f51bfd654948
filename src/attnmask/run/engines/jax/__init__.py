"""JAX's own attention."""

LIBRARY = "jax"
