"""Reads a JSON file that may hold anything: any bytes, any size, any depth, or be no file at all."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import SpecError, system_facts, system_hint
from qatbuild.exchange.files import read_bytes
from qatbuild.schema.diagnostics import Diagnostic, FaultySpecError, place_of, pointer
from qatbuild.schema.faults import MOST
from qatbuild.schema.positions import Positions, Span

LARGEST_BYTES = 2 << 20
_DEEPEST = 32
_DIGITS = 18
_LONGEST = 120
"""Most characters of a line that are shown with a syntax error."""

_ODD = re.compile("[\0\ud800-\udfff]")
_ODD_ESCAPE = re.compile(r"\\u(0000|d[89a-f])", re.IGNORECASE)


def read_json(file: Path) -> Any:
    """Reads a JSON file.

    SpecError for what is no regular file or too large, invalid JSON (with line and column), duplicate keys, NaN, deep
    nesting, and texts that no file name, tool or model file can hold.
    """
    try:
        text = _content(file).decode("utf-8-sig")
    except OSError as fault:
        raise SpecError("A spec cannot be read.", system_facts(fault), system_hint(fault)) from fault
    except UnicodeDecodeError as fault:
        raise SpecError("A spec cannot be read.", [("file", file), ("reason", fault)], "save it as UTF-8") from fault
    value = _parsed(file, text)
    if _is_deep(value):
        raise SpecError("A spec is nested too deeply.", [("file", file), ("levels", f"more than {_DEEPEST}")])
    # Only an escape can write such a character: UTF-8 and JSON have no other way.
    if _ODD_ESCAPE.search(text) and (odd := list(itertools.islice(_odd_texts(value, ()), MOST))):
        raise SpecError("A spec has a character that no text may have.", [("file", file), *odd])
    return value


def _content(file: Path) -> bytes:
    """Returns the bytes of a regular file; SpecError for one that is too large, without reading it to its end."""
    data = read_bytes(file, LARGEST_BYTES)
    if len(data) > LARGEST_BYTES:
        facts = [("file", file), ("bytes", f"more than {LARGEST_BYTES:,}")]
        raise SpecError("A spec is too large.", facts, "a matrix writes many variants in few lines")
    return data


def _parsed(file: Path, text: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_countable,
        )
    except json.JSONDecodeError as fault:
        raise _not_json(file, text, fault.msg, Span(fault.pos, fault.pos + 1)) from fault
    except _TokenError as fault:
        raise _not_json(file, text, str(fault), Positions(text).token(fault.token)) from fault
    except _RepeatedKeyError as fault:
        raise _not_json(file, text, str(fault), next(iter(Positions(text).repeated), None)) from fault
    except ValueError as fault:
        raise _not_json(file, text, str(fault), None) from fault
    except RecursionError as fault:
        raise SpecError("A spec is nested too deeply.", [("file", file)]) from fault


def _not_json(file: Path, text: str, reason: str, span: Span | None) -> FaultySpecError:
    """Returns the error of a text that is not JSON, with the place of the token, if that is known."""
    place = None if span is None else place_of(file, text, span)
    where: list[tuple[str, object]] = [("reason", reason)]
    if place is not None:
        where = [("line", f"{place.line}, column {place.column}: {reason}"), ("reads", place.text.strip()[:_LONGEST])]
    hint = "JSON has no comments and no comma after the last item."
    return FaultySpecError("A spec is not JSON.", [("file", file), *where], [Diagnostic("", reason, place)], hint)


def _is_deep(value: Any) -> bool:
    """Returns whether a value has more than _DEEPEST levels; looks at one level after the other, without recursion."""
    level = [value]
    for _ in range(_DEEPEST):
        parts = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = list(itertools.chain.from_iterable(parts))
    return bool(level)


def _odd_texts(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, str]]:
    """Yields (JSON pointer, sentence) of each key and text with a character that encodes to nothing or ends a name."""
    if isinstance(value, str) and (odd := _ODD.search(value)):
        what = "ends a text in most programs" if odd[0] == "\0" else "is half of a character"
        yield pointer(path), f"{odd[0]!a} {what}: remove it."
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(key, str):
            yield from ((pointer([*path, key]), text) for _, text in _odd_texts(key, ()))
        yield from _odd_texts(part, (*path, key))


class _TokenError(ValueError):
    """A token that JSON does not have, or a number that is too large."""

    def __init__(self, token: str, reason: str) -> None:
        super().__init__(reason)
        self.token = token


class _RepeatedKeyError(ValueError):
    """A key that occurs twice in one object."""


def _finite(text: str) -> float:
    if math.isinf(value := float(text)):
        raise _TokenError(text, f"{text} is too large a number")
    return value


def _countable(text: str) -> int:
    if len(text) > _DIGITS:
        raise _TokenError(text, f"{text[:_DIGITS]}... is too large a number")
    return int(text)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise _RepeatedKeyError(f"the key {json.dumps(name)} occurs twice in one object")
    return value


def _no_constant(text: str) -> None:
    raise _TokenError(text, f"{text} is not a JSON number")
