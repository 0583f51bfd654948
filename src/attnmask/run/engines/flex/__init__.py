"""torch's FlexAttention."""

LIBRARY = "torch"
