"""Checks whether a document is valid under a JSON Schema, without explaining why not.

Importing jsonschema takes longer than building one spec, so it is imported only to explain the faults of an invalid
document. Only the keywords of spec.schema.json are implemented: under a schema with any other keyword no document is
valid here, and jsonschema decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
}
_SILENT = {
    "$schema",
    "$id",
    "$defs",
    "title",
    "description",
    "default",
    "x-hint",
    "then",
    "else",
    "examples",
    "defaultSnippets",
}


def is_valid(document: Any, schema: Mapping[str, Any]) -> bool:
    """Returns whether a document is valid; False also if the schema has a keyword that is not implemented here."""
    try:
        return _is_valid(document, schema, schema)
    except KeyError:  # A keyword or a type that is not implemented.
        return False


def matches(pattern: str, text: str) -> bool:
    """Returns whether a JSON Schema's pattern matches: there `$` is the end; in Python a line break may follow it."""
    return _compiled(pattern).search(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"(?<!\\)\$", r"\\Z", pattern))


def _is_valid(value: Any, schema: Any, root: Mapping[str, Any]) -> bool:
    if isinstance(schema, bool):
        return schema
    return all(keyword in _SILENT or _RULES[keyword](value, wanted, schema, root) for keyword, wanted in schema.items())


def _equal(one: Any, other: Any) -> bool:
    """Compares two scalars as JSON does: 1 equals 1.0, but not true."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _type(value: Any, wanted: Any, *_: Any) -> bool:
    return any(_TYPES[name](value) for name in (wanted if isinstance(wanted, list) else [wanted]))


def _ref(value: Any, wanted: str, _: Any, root: Mapping[str, Any]) -> bool:
    target: Any = root
    for part in wanted.removeprefix("#/").split("/"):
        target = target[part]
    return _is_valid(value, target, root)


def _properties(value: Any, wanted: Mapping[str, Any], _: Any, root: Mapping[str, Any]) -> bool:
    return not isinstance(value, dict) or all(
        _is_valid(value[name], inner, root) for name, inner in wanted.items() if name in value
    )


def _additional(value: Any, wanted: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    return all(_is_valid(value[name], wanted, root) for name in value if name not in schema.get("properties", ()))


def _if(value: Any, wanted: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    return _is_valid(value, schema.get("then" if _is_valid(value, wanted, root) else "else", True), root)


_Rule = Callable[[Any, Any, Mapping[str, Any], Mapping[str, Any]], bool]


def _of(kind: str, holds: Callable[[Any, Any], bool]) -> _Rule:
    """Returns a rule for values of one type. Values of other types satisfy it."""
    return lambda value, wanted, _schema, _root: not _TYPES[kind](value) or holds(value, wanted)


_RULES: dict[str, _Rule] = {
    "type": _type,
    "$ref": _ref,
    "properties": _properties,
    "additionalProperties": _additional,
    "if": _if,
    "required": _of("object", lambda value, names: all(name in value for name in names)),
    "propertyNames": lambda value, inner, _, root: (
        not isinstance(value, dict) or all(_is_valid(name, inner, root) for name in value)
    ),
    "minProperties": _of("object", lambda value, least: len(value) >= least),
    "items": lambda value, inner, _, root: (
        not isinstance(value, list) or all(_is_valid(each, inner, root) for each in value)
    ),
    "minItems": _of("array", lambda value, least: len(value) >= least),
    "maxItems": _of("array", lambda value, most: len(value) <= most),
    "minLength": _of("string", lambda value, least: len(value) >= least),
    "pattern": _of("string", lambda value, pattern: matches(pattern, value)),
    "minimum": _of("number", lambda value, least: value >= least),
    "maximum": _of("number", lambda value, most: value <= most),
    "exclusiveMinimum": _of("number", lambda value, limit: value > limit),
    "exclusiveMaximum": _of("number", lambda value, limit: value < limit),
    "const": lambda value, wanted, *_: _equal(value, wanted),
    "enum": lambda value, wanted, *_: any(_equal(value, each) for each in wanted),
    "not": lambda value, inner, _, root: not _is_valid(value, inner, root),
    "allOf": lambda value, inner, _, root: all(_is_valid(value, each, root) for each in inner),
    "anyOf": lambda value, inner, _, root: any(_is_valid(value, each, root) for each in inner),
}
