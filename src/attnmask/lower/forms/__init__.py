"""Concrete forms of a mask in a frame, one file each; the folder is the registry.

A file holds ``lower(mask, frame, **options)``; its name is the form's name.
"""
