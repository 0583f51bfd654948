"""Documents made of the parts of ``parts.py``, one file per format; the folder is the registry.

A file holds ``SUFFIX``, the file suffix it writes, and ``render(title, parts)``; its name is the format's name.
"""
