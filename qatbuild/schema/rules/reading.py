"""Reads parts of a document that may be any JSON: a value of the wrong type counts as absent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qatbuild.schema.ends import IMAGES, LABELS

_ENDS = 2


def at(document: Any, *path: str) -> Any:
    """Returns the value at a path of keys; None without one."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def integer(document: Any, *path: str) -> int | None:
    """Returns the integer at a path; None for any other value."""
    value = at(document, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Any) -> bool:
    """Returns whether a value is a number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_pair(value: Any) -> bool:
    """Returns whether a value is a list of two numbers."""
    return isinstance(value, list) and len(value) == _ENDS and all(map(number, value))


def objects(document: Any, *path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (name, object) of the objects in the object at a path."""
    parts = at(document, *path)
    for name, part in parts.items() if isinstance(parts, dict) else ():
        if isinstance(part, dict):
            yield name, part


def inputs_of(document: Any) -> dict[str, dict[str, Any]]:
    """Returns the inputs by name; the short form's is named images."""
    if isinstance(at(document, "inputs"), dict):
        return dict(objects(document, "inputs"))
    short = at(document, "input")
    return {IMAGES: short} if isinstance(short, dict) else {}


def place_of_input(document: Any, name: str) -> tuple[str, ...]:
    """Returns the path of an input in the document."""
    return ("inputs", name) if isinstance(at(document, "inputs"), dict) else ("input",)


def outputs_of(document: Any) -> dict[str, dict[str, Any]]:
    """Returns the outputs by name; by default the classification named labels."""
    if at(document, "outputs") is None:
        return {LABELS: {"task": "classification"}}
    return dict(objects(document, "outputs"))


def is_real(part: Any) -> bool:
    """Returns whether an input is of real values."""
    return at(part, "real") is True
