"""The package flash_attn."""

LIBRARY = "torch"
