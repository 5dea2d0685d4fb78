"""Comments in a spec: the key "$comment" of any object, a text or a list of texts. JSON itself has none."""

from __future__ import annotations

from typing import Any

COMMENT = "$comment"

WITH_OPTIONS = ("model", "dataset")
"""Sections with `options`, keyword arguments of the project's functions, which may be anything."""


def without_comments(value: Any, holder: str = "") -> Any:
    """Returns a document without its comments; what is no comment under that key stays, and the schema refuses it."""
    if isinstance(value, list):
        return [without_comments(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: part if key == "options" and holder in WITH_OPTIONS else without_comments(part, key)
        for key, part in value.items()
        if key != COMMENT or not _is_comment(part)
    }


def _is_comment(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))
