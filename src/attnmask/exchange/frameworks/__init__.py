"""Frameworks whose mask arguments are written and read, one file each; the folder is the registry.

A file holds ``NAME``, ``write(mask, frame, **options)``, which gives the keyword arguments of the framework's own
function, and ``read(value, **options)``, which takes these or the bare array back. A framework is imported only when
arrays of it are made.
"""
