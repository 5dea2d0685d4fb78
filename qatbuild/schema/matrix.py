"""Expands `matrix`: every combination of the values of some fields becomes a named patch of the spec.

A name lists fields and values, `initial-0.05,scheme-int8`, without characters that are special to doit, a shell or a
file system. It depends on the fields of the matrix and on its own values only: appending or reordering values renames
nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from qatbuild.exchange.files import canonical_json
from qatbuild.schema.faults import Fault

LIMIT = 10_000
"""Largest number of variants of a spec. A larger one is a mistake, and would take minutes to plan."""

_LARGEST_BYTES = 64 << 20
"""Largest size of all variants of a spec together, as JSON."""

_MOST_FIELDS = 200
"""Largest number of fields of a combination: more than a spec has, and each is merged on its own."""

_LISTS = ("exclude", "include")
_GATES = ("evaluate", "gates")
_LONGEST_VALUE = 40
_LONGEST_NAME = 120


class Cell(NamedTuple):
    """One field with one value, and the value's path in the spec."""

    field: tuple[str, ...]
    value: Any
    place: tuple[str | int, ...]

    @property
    def patch(self) -> dict[str, Any]:
        """The value as a patch of the spec."""
        patch = self.value
        for key in reversed(self.field):
            patch = {key: patch}
        return dict(patch)


class Combination(NamedTuple):
    """A name and its cells; a spec without a matrix has one empty combination."""

    name: str = ""
    cells: tuple[Cell, ...] = ()


def too_many(count: int, total_bytes: int) -> str:
    """Returns a sentence if a spec makes too many variants, or too large ones, in all; else ''."""
    if count > LIMIT:
        return f"makes more than {LIMIT} variants."
    if total_bytes > _LARGEST_BYTES:
        return f"makes {count} variants of {total_bytes >> 20} MiB together, more than {_LARGEST_BYTES >> 20}."
    return ""


def size(document: object) -> int:
    """Returns the size of a document as JSON, in characters."""
    return len(canonical_json(document))


def combinations(matrix: Mapping[str, Any], spec: object = None) -> tuple[list[Combination], list[Fault]]:
    """Returns (combinations, faults) of a matrix that is valid under the schema, in order of its fields and values.

    `spec` is the document that they are combinations of.
    """
    axes = {field: values for field, values in matrix.items() if field not in _LISTS}
    extras = matrix.get("include", ())
    if max(len(axes), *map(len, extras), 0) > _MOST_FIELDS:
        return [], [Fault(("matrix",), f"has combinations of more than {_MOST_FIELDS} fields.")]
    count = math.prod(len(values) for values in axes.values()) + len(extras)
    faults = [*_overlaps(axes), *_doubles(axes)]
    each_bytes = size(spec) + size(matrix.get("exclude")) + sum(max(map(size, values)) for values in axes.values())
    if text := too_many(count, count * each_bytes + size(extras)):
        return [], [*faults, Fault(("matrix",), text)]
    rows = [
        tuple(Cell(_keys(field), values[number], ("matrix", field, number)) for (field, values), number in chosen)
        for chosen in (list(zip(axes.items(), numbers, strict=True)) for numbers in _indices(axes))
    ]
    for number, pattern in enumerate(matrix.get("exclude", ())):
        kept = [row for row in rows if not _matches(row, pattern)]
        if len(kept) == len(rows):
            faults.append(Fault(("matrix", "exclude", number), "excludes nothing: no combination has these values."))
        rows = kept
    for number, extra in enumerate(extras):
        rows.append(
            tuple(Cell(_keys(field), value, ("matrix", "include", number, field)) for field, value in extra.items())
        )
    if not rows:
        faults.append(Fault(("matrix",), "leaves no combination."))
    return _named(rows, faults), faults


def _indices(axes: Mapping[str, Sequence[Any]]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(len(values)) for values in axes.values())) if axes else iter(())


def _keys(field: str) -> tuple[str, ...]:
    """Returns the keys of a field's path; a gate of one of several outputs, OUTPUT.METRIC, is one key."""
    keys = tuple(field.split("."))
    if keys[:2] == _GATES and len(keys) == len(_GATES) + 3:
        return (*_GATES, ".".join(keys[2:4]), keys[4])
    return keys


def _overlaps(axes: Mapping[str, Any]) -> Iterator[Fault]:
    for field in axes:
        keys = _keys(field)
        for other in (".".join(keys[:count]) for count in range(1, len(keys))):
            if other in axes:
                yield Fault(("matrix", field), f'lies inside "{other}", another field of the matrix.')


def _doubles(axes: Mapping[str, Sequence[Any]]) -> Iterator[Fault]:
    for field, values in axes.items():
        seen = set()
        for number, value in enumerate(values):
            if (meaning := _meaning(value)) in seen:
                yield Fault(("matrix", field, number), f"{json.dumps(value)} occurs twice.")
            seen.add(meaning)


def _meaning(value: Any) -> float | str:
    """Returns a key for comparing values: 1 equals 1.0, but not true."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else canonical_json(value)


def _matches(row: Sequence[Cell], pattern: Mapping[str, Any]) -> bool:
    values = {cell.field: cell.value for cell in row}
    return all(
        _keys(field) in values and _meaning(values[_keys(field)]) == _meaning(value) for field, value in pattern.items()
    )


def _named(rows: Sequence[tuple[Cell, ...]], faults: list[Fault]) -> list[Combination]:
    short = _short({cell.field for row in rows for cell in row})
    combined: dict[str, Combination] = {}
    for row in rows:
        parts = sorted(f"{short[cell.field]}-{_text(cell.value)}" for cell in row)
        name = ",".join(parts)
        if len(name) > _LONGEST_NAME:
            name = f"{name[:_LONGEST_NAME]},{_hash(parts, 10)}"
        if name in combined:
            faults.append(Fault(row[0].place[:3], f'repeats the combination "{name}".'))
        combined.setdefault(name, Combination(name, row))
    return list(combined.values())


def _short(fields: set[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Returns the shortest unique name of each field: as many of its last keys as needed."""
    uses = Counter(end for field in fields for end in _ends(field))
    return {field: ".".join(next(end for end in _ends(field) if uses[end] == 1 or end == field)) for field in fields}


def _ends(field: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (field[-count:] for count in range(1, len(field) + 1))


def _text(value: Any) -> str:
    """Writes a value in the characters of a name, with a digest of the value if characters were lost."""
    if isinstance(value, str):
        text, exact = re.sub(r"[^A-Za-z0-9_.-]+", "_", value), not _is_scalar(value)
    else:
        written = canonical_json(value)
        text = re.sub(r"[^A-Za-z0-9_.-]+", "_", written.replace("+", "")).strip("_")
        exact = not isinstance(value, list | dict)
    if exact and text and (text == value or not isinstance(value, str)) and len(text) <= _LONGEST_VALUE:
        return text
    return f"{text[:_LONGEST_VALUE]}-{_hash(value, 6)}"


def _is_scalar(text: str) -> bool:
    """Returns whether a text reads as a number, true, false or null."""
    try:
        return not isinstance(json.loads(text), list | dict | str)
    except ValueError:
        return False


def _hash(value: Any, digits: int) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:digits]
