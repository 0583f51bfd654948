"""The parts of verification that look inside JAX: derivatives, also by the embeddings of ids."""
