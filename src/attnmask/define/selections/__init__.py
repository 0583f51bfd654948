"""Ways to select keys by content, one file each; the folder is the registry.

A file holds one function of the file's own name, which returns a ``Selection``, and ``EXAMPLES``: pairs of a selection
and a frame. What a rule means is in its docstring; ``run/selected`` computes it, in one file per library.
"""
