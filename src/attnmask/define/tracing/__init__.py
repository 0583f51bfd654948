"""Other people's functions of positions as masks."""
