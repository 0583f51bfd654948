"""What is wrong with a mask array, read from the array alone; ``diagnose.py`` is the way in."""
