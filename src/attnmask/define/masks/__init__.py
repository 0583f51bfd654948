"""The kinds of masks, one file each; the folder is the registry.

A file holds one function of the file's own name, decorated with ``kind``, and ``EXAMPLES``: pairs of a mask and a
frame that the tests, the gallery and the benchmarks pick up by listing this folder.
"""
