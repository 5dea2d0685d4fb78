"""The name that an unknown word most resembles, for "Did you mean ...?"."""

from __future__ import annotations

import json
from collections.abc import Iterable

_SIMILARITY = 0.5
"""difflib's ratio, 0 to 1, from which two words resemble each other."""


def nearest(word: str, names: Iterable[str]) -> str:
    """Returns the name that resembles the word most; '' if none does."""
    import difflib  # noqa: PLC0415  Only a mistake needs it.

    return next(iter(difflib.get_close_matches(word, list(names), 1, _SIMILARITY)), "")


def suggest(word: str, names: Iterable[str]) -> str:
    """Returns ' Did you mean "NAME"?' for the nearest name; '' without one."""
    near = nearest(word, names)
    return f" Did you mean {json.dumps(near)}?" if near else ""
