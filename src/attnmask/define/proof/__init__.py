"""What holds for all lengths at once, or the position where it fails."""
