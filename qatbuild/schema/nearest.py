"""The name nearest to an unknown word, for "Did you mean ...?"."""

from __future__ import annotations

import json
from collections.abc import Iterable

_SIMILARITY = 0.5
"""Least ratio of difflib, 0 to 1, of two similar words."""

_LONGEST_WORD = 200


def nearest(word: str, names: Iterable[str]) -> str:
    """Returns the name most similar to the word; '' if no name is similar."""
    if len(word) > _LONGEST_WORD:
        return ""
    import difflib  # noqa: PLC0415  Only needed for a mistake.

    return next(iter(difflib.get_close_matches(word, list(names), 1, _SIMILARITY)), "")


def suggest(word: str, names: Iterable[str]) -> str:
    """Returns ' Did you mean "NAME"?' for the nearest name; '' without one."""
    near = nearest(word, names)
    return f" Did you mean {json.dumps(near)}?" if near else ""
