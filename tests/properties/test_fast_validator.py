"""The fast validator and jsonschema agree on every document."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from qatbuild.schema.fast_validator import is_valid
from qatbuild.schema.faults import SCHEMA_PATH, validator
from tests.properties.mutation import LONG

SCHEMA = json.loads(SCHEMA_PATH.read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
SHIPPED = sorted((Path(__file__).parents[2] / "specs").rglob("*.json"))
SPECS = [*(json.loads(path.read_text()) for path in SHIPPED), *LONG.values()]
VALUES = st.sampled_from(
    [None, True, 0, 1, 1.0, -1, 0.5, 1e9, "", "a b", "adam", "cosine", "uint8", "qat", "ptq", "float", "percentile", [],
     [1], ["a"], {}, {"x": 1}, {"schedule": "step"}, {"name": "mobilenet", "width": 0.5}, {"layer": "conv*", "bits": 4}]
)  # fmt: skip


def places(document: Any) -> list[tuple[Any, Any]]:
    """(holder, key) of every value in a document."""
    keys = document.keys() if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    return [place for key in list(keys) for place in [(document, key), *places(document[key])]]


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A shipped spec in which values were removed, replaced, or taken from elsewhere in it or in the schema."""
    document = copy.deepcopy(draw(st.sampled_from(SPECS)))
    for _ in range(draw(st.integers(0, 3))):
        holder, key = draw(st.sampled_from(places(document) or [({}, "")]))
        match draw(st.sampled_from(["remove", "replace", "add", "swap"])):
            case "remove" if isinstance(holder, dict):
                holder.pop(key, None)
            case "add" if isinstance(holder, dict):
                section = SCHEMA["$defs"].get(draw(st.sampled_from(sorted(SCHEMA["$defs"]))), {})
                names = sorted(section.get("properties", {"unknown": None}))
                holder[draw(st.sampled_from(names))] = copy.deepcopy(draw(VALUES))
            case "swap":
                other, name = draw(st.sampled_from(places(document) or [({}, "")]))
                holder[key] = copy.deepcopy(other.get(name)) if isinstance(other, dict) else None
            case _:
                holder[key] = copy.deepcopy(draw(VALUES))
    return document


@settings(deadline=None, derandomize=True, max_examples=400)
@given(documents())
def test_fast_validator_agrees_with_jsonschema_on_any_document(document: Any) -> None:
    assert is_valid(document, SCHEMA) == VALIDATOR.is_valid(document)


@pytest.mark.parametrize("pattern", ["^a*$", "^(a|b)$", "a$"])
def test_the_end_of_a_pattern_is_not_before_a_last_line_break(pattern: str) -> None:
    assert is_valid("a", {"pattern": pattern})
    assert not is_valid("a\n", {"pattern": pattern})
    assert not validator().is_valid({**SPECS[0], "variants": {"a\n": {}}})


@pytest.mark.parametrize("schema", [{"uniqueItems": True}, {"type": "file"}, {"not": {"format": "date"}}])
def test_a_schema_with_more_in_it_is_left_to_jsonschema(schema: dict[str, Any]) -> None:
    assert not is_valid(["a"], schema)
