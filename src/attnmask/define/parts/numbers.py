"""Check that an argument is a whole number: the first line of most kinds of masks."""

from __future__ import annotations

from attnmask.errors import MaskError


def check_number(name: str, value: object, *, least: int, rule: str, fix: str) -> None:
    """Refuse what is not a whole number of at least ``least``.

    >>> check_number("size", 0, least=1, rule="a chunk holds at least 1 position", fix="Write chunked(8192)")
    Traceback (most recent call last):
    attnmask.errors.MaskError: a chunk holds at least 1 position; got size=0. Write chunked(8192).
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise MaskError(rule, f"{name}={value!r}", fix)
