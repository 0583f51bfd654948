"""Stage 5: does a model leak? Record the masks it really uses, probe what reaches what, report."""
