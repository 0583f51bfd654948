"""Attention under a ``Selection``, one file per library.

A file holds ``attention(q, k, v, selection, frame, scale)`` and ``attention_weights(q, k, selection, frame, scale)``, as
an engine does, and ``RULES``: a function per file of ``define/selections``, from scores, the pairs that are visible and
the rule's own numbers to the pairs that it selects. The NumPy file is the oracle for the others.
"""
