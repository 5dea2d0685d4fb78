"""Comments in specs: `"$comment"` in every section, of which no result depends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qatbuild.exchange.errors import SpecError
from qatbuild.schema import model
from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths

SPEC: dict[str, Any] = {
    "input": {"mean": 121, "std_dev": 64},
    "model": {"name": "cifarnet"},
    "train": {"steps": 100, "learning_rate": {"initial": 0.1}},
    "variants": {"a": {"quantize": {"scheme": "int8"}}},
}


def loaded(folder: Path, document: dict[str, Any]) -> list[model.Variant]:
    (folder / "net.json").write_text(json.dumps(document))
    return load("net", folder / "net.json", AllowedPaths(folder))


def commented(value: Any) -> Any:
    """The value with a comment in each of its objects but those with names of the user's."""
    if not isinstance(value, dict):
        return value
    inside = {name: commented(part) for name, part in value.items()}
    return {"$comment": ["why", "so"], **inside}


def test_specs_with_and_without_comments_are_equal(tmp_path: Path) -> None:
    assert loaded(tmp_path, commented(SPEC)) == loaded(tmp_path, SPEC)


@pytest.mark.parametrize("value", [7, {"text": "no"}, [1]])
def test_a_comment_is_a_text_or_a_list_of_texts(tmp_path: Path, value: Any) -> None:
    with pytest.raises(SpecError) as error:
        loaded(tmp_path, {**SPEC, "train": {**SPEC["train"], "$comment": value}})
    assert "/train/$comment" in error.value.block()


def test_options_of_a_function_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("")
    options = {"$comment": "mine"}
    (variant,) = loaded(tmp_path, {**SPEC, "model": {"call": "nets:small", "options": options}})
    assert variant.model.options == options
