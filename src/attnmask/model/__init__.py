"""The reference Transformer: the masks of ``define`` in their places."""
