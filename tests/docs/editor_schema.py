"""Writes qatbuild/schema/editor.schema.json: the schema of specs for editors, which see one file and no merge.

python -m tests.docs.editor_schema

A variant, and a spec that extends another, hold any part of a spec: nothing is required, and null removes a field. So
the schema for editors has each section twice, whole and as a patch; spec.schema.json describes what the merge makes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from qatbuild.schema.faults import HINT, SCHEMA_PATH

PAGE = SCHEMA_PATH.with_name("editor.schema.json")
_WHOLE_ONLY = {"required", "minProperties", "if", "then", "else", "allOf", "anyOf", "not", "defaultSnippets", "default"}
_OF_SPECS = ("extends", "variants", "matrix")
_REFERENCE = "#/$defs/"

Schema = Mapping[str, Any]


def editor_schema(schema: Schema) -> dict[str, Any]:
    """The schema of a file: a patch if it extends another, else a whole spec; its variants are patches."""
    variants = schema["properties"]["variants"]
    properties = {
        **schema["properties"],
        "variants": {**variants, "additionalProperties": {"$ref": f"{_REFERENCE}variant"}},
    }
    sections = {name: field for name, field in properties.items() if name not in {*_OF_SPECS, "$schema"}}
    fields = {name: _patch(field) for name, field in sections.items()}
    of_specs = {name: properties[name] for name in ("$schema", "extends")}
    of_specs |= {name: {**properties[name], "type": ["object", "null"]} for name in ("variants", "matrix")}
    closed = {"type": "object", "additionalProperties": False}
    whole = {name: part for name, part in schema.items() if name not in {"$schema", "$id", "$defs", "title"}}
    return {
        "$schema": schema["$schema"],
        "title": schema["title"],
        "description": schema["description"],
        "defaultSnippets": schema["defaultSnippets"],
        "if": {"required": ["extends"]},
        "then": {"$ref": f"{_REFERENCE}extending"},
        "else": {"$ref": f"{_REFERENCE}whole"},
        "$defs": {
            "whole": {**whole, "properties": properties},
            "extending": {**closed, "properties": {**of_specs, **fields}},
            "variant": {**closed, "description": "A merge patch (RFC 7396) of the spec.", "properties": fields},
            **schema["$defs"],
            **{_name(name): _open(part) for name, part in schema["$defs"].items()},
        },
        "properties": {"$comment": schema["properties"]["$comment"]},  # Sections refer to it here.
    }


def _name(section: str) -> str:
    return f"{section}_patch"


def _patch(field: Any) -> Any:
    """A field that may also be null, and of whose sections nothing is required."""
    if target := field.get("$ref", "").removeprefix(_REFERENCE):
        return (
            field if target.startswith("#") else {"anyOf": [{"$ref": f"{_REFERENCE}{_name(target)}"}, {"type": "null"}]}
        )
    if "enum" in field:
        return {**field, "enum": list(dict.fromkeys([*field["enum"], None]))}
    if "type" not in field:
        return {**field, "anyOf": [*({**each} for each in field["anyOf"]), {"type": "null"}]}
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    nullable = {**field, "type": list(dict.fromkeys([*kinds, "null"]))}
    return _open(nullable) if "properties" in field or "additionalProperties" in field else nullable


def _open(part: Schema) -> dict[str, Any]:
    """An object of which any part may be written."""
    kept = {name: value for name, value in part.items() if name not in _WHOLE_ONLY}
    if "properties" in part:
        kept["properties"] = {name: _patch(field) for name, field in part["properties"].items()}
    if isinstance(part.get("additionalProperties"), dict):
        kept["additionalProperties"] = _patch(part["additionalProperties"])
    return kept


def _without_hints(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_hints(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_hints(each) for key, each in value.items() if key != HINT}
    return value


def written() -> str:
    """The file's text."""
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return json.dumps(_without_hints(editor_schema(schema)), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
