"""How recipes learn: examples in batches, the loss, the training loop, checkpoints, and the comparison of masks."""
