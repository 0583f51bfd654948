"""Forked children of a process that computed with several threads: these do not survive a fork, and OpenMP waits for them.

Every product of torch's own hangs there, forever; torch's DataLoader sets one thread in its workers for that reason.
"""

from __future__ import annotations

import os
import warnings

import torch

from attnmask.lower.compiled import compiling

_WAITS = False  # whether this process is a child that has not called attention yet


def one_thread_after_fork() -> None:
    """At the first call in a forked child, let torch and attnmask's kernel compute with one thread, and say so."""
    global _WAITS
    if not _WAITS or compiling():
        return
    _WAITS = False
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        warnings.warn(
            "attention in a forked process computes with one thread, since torch's others did not survive the fork; "
            "call torch.set_num_threads(1) there, or start processes with 'spawn'",
            RuntimeWarning,
            stacklevel=2,
        )


def _in_child() -> None:
    global _WAITS
    _WAITS = torch.get_num_threads() > 1  # the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
