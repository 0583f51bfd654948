"""The package flash_attn."""
