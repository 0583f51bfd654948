"""Engines that compute attention, one file each; the folder is the registry.

A file holds ``LIBRARY``, the library of its arrays; ``refusal(request)``, why it cannot run a call, or None;
``work(request)``, what it calls; and ``attention(q, k, v, mask, frame, scale)``. The engine that is named as its library
is the one taken where nothing else is faster; it also holds ``attention_weights(q, k, mask, frame, scale)``. What they
are given has passed ``contract``; ``numpy/oracle.py`` is what all are tested against.
"""
