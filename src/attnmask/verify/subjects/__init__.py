"""A model with its inputs, ready to be run on variants of them: other content, lengths, batches, axes, formats."""
