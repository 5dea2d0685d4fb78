"""The fault of an array or a feature, before it is known where it was."""

from __future__ import annotations


class MisfitError(Exception):
    """Something is not as it should be: what is wrong, what was there, and what was expected."""

    def __init__(self, what: str, *, got: str, expected: str) -> None:
        """Says it in words."""
        super().__init__(what)
        self.what, self.got, self.expected = what, got, expected
