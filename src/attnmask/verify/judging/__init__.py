"""What outputs may depend on in one case, what is tried to find out, and what follows from the evidence."""
