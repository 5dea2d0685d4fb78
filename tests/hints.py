"""A hint is only worth its line if it works: a test that follows one says so, and tests/architecture counts them."""

from __future__ import annotations


def follows(hint: str) -> str:
    """Returns a part of a hint, by which it is recognised; the test that calls this does what the hint says."""
    return hint
