"""What an editor shows for a spec: answers of vscode's language service for JSON, with the schema for editors.

A cursor is a | in a text.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qatbuild.schema.faults import SCHEMA_PATH, validator
from qatbuild.schema.load import find
from tests.docs import editor_schema
from tests.docs.pages import REPOSITORY

SCHEMA = json.loads(SCHEMA_PATH.read_text())
SERVER = Path(__file__).with_name("language_server.mjs")
TOOLS = "QATBUILD_NODE_TOOLS"
"""Environment variable: a folder with node_modules/vscode-json-languageservice."""

_SCHEMA_LINE = re.compile(r'"\$schema": ".*?",|\|')

START = '{"input": {"mean": 0, "std_dev": 255}, '
WHOLE = START + '"model": {"name": "digitsnet"}, '
EXTENDS = '{"extends": "_base.json", '


def asked(*texts: str, with_schema: bool = True) -> list[dict[str, Any]]:
    """Returns the answers for some texts, of which each may have a cursor, and names its schema if this is not set."""
    node, tools = shutil.which("node"), os.environ.get(TOOLS, "")
    if node is None or not (Path(tools) / "node_modules/vscode-json-languageservice").is_dir():
        pytest.skip(f"no language server: npm install --prefix DIR vscode-json-languageservice; {TOOLS}=DIR")
    questions = [{"text": text.replace("|", ""), "at": text.find("|") if "|" in text else None} for text in texts]
    schema = json.loads(editor_schema.PAGE.read_text()) if with_schema else None
    asking = json.dumps({"schema": schema, "questions": questions})
    done = subprocess.run([node, SERVER, tools], input=asking, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def fields(schema: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields every field below a schema."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}/{name}", field
        yield from fields(field, f"{path}/{name}")


FIELDS = dict(each for name, part in [("", SCHEMA), *SCHEMA["$defs"].items()] for each in fields(part, name))


def shows_a_value(field: Any) -> bool:
    """Whether a field shows what to write: values to choose from, a default, an example, or a part with a schema."""
    names = {"enum", "examples", "defaultSnippets", "$ref", "properties"} & set(field)
    return bool(names) or field.get("type") == "boolean" or field.get("default") not in (None, [], {})


def test_every_field_has_a_description_and_shows_what_to_write() -> None:
    assert len(FIELDS) > 150
    assert [path for path, field in FIELDS.items() if not {"description", "$ref"} & set(field)] == []
    assert [path for path, field in FIELDS.items() if not shows_a_value(field)] == []


def test_every_part_with_required_fields_has_a_snippet() -> None:
    parts = [name for name, part in SCHEMA["$defs"].items() if "required" in part and "defaultSnippets" not in part]
    assert parts == []


@pytest.mark.parametrize("path", [path for path, field in FIELDS.items() if {"examples", "default"} & set(field)])
def test_examples_and_defaults_are_valid(path: str) -> None:
    field = FIELDS[path]
    part = validator().evolve(schema={**field, "$defs": SCHEMA["$defs"], "properties": {**field.get("properties", {})}})
    shown = [*field.get("examples", ()), *([field["default"]] if "default" in field else [])]
    assert [value for value in shown if not part.is_valid(value)] == []


def filled(value: Any) -> Any:
    """A snippet's body as an editor inserts it: ^${1:0} is a number, ${1:name} a text."""
    if isinstance(value, dict):
        return {filled(key): filled(each) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each) for each in value]
    match = re.fullmatch(r"(\^?)\$\{\d:(.+)\}", value) if isinstance(value, str) else None
    return value if match is None else json.loads(match[2]) if match[1] else match[2]


SNIPPETS = {
    f"{name or 'spec'}: {snippet['label']}": (part, snippet["body"])
    for name, part in [("", SCHEMA), *SCHEMA["$defs"].items(), *SCHEMA["properties"].items()]
    for snippet in part.get("defaultSnippets", ())
}


@pytest.mark.parametrize("name", SNIPPETS)
def test_what_a_snippet_inserts_is_valid(name: str) -> None:
    part, body = SNIPPETS[name]
    whole = {"$defs": SCHEMA["$defs"], "properties": SCHEMA["properties"]}
    schema = part if part is SCHEMA else {**whole, **part, "properties": part.get("properties", {})}
    schema = json.loads(json.dumps(schema).replace('"#/properties/$comment"', '"#/$defs/override"'))
    assert [fault.message for fault in validator().evolve(schema=schema).iter_errors(filled(body))] == []


def test_the_schema_for_editors_is_up_to_date() -> None:
    """If not: python -m tests.docs.editor_schema."""
    assert editor_schema.PAGE.read_text() == editor_schema.written()


def test_an_editor_offers_what_may_stand_at_the_cursor() -> None:
    offers = {
        '{"|"}': {"dataset", "input", "model", "train", "quantize", "evaluate", "extends", "variants"},
        "|": {"qatbuild spec"},
        WHOLE + '"quantize": {"scheme": |}}': {'"uint8"', '"int8"', '"int8_per_channel"'},
        START + '"model": {"name": |}}': {'"cifarnet"', '"digitsnet"', '"mobilenet"'},
        START + '"model": |}': {"your own function", "a trained Keras file"},
        WHOLE + '"train": {"|"}}': {"steps", "learning_rate", "optimizer"},
        WHOLE + '"train": {"learning_rate": {"schedule": |}}}': {'"cosine"', '"constant"'},
        WHOLE + '"variants": {"a": {"|"}}}': {"quantize", "train", "dataset"},
        WHOLE + '"variants": {"a": {"quantize": {"|"}}}}': {"method", "scheme"},
        WHOLE + '"variants": {"a": {"quantize": {"method": |}}}}': {'"qat"', '"ptq"', "null"},
        WHOLE + '"variants": |}': {"one for each scheme"},
        EXTENDS + '"|"}': {"quantize", "train", "variants"},
        EXTENDS + '"evaluate": {"|"}}': {"gates", "min_top1"},
        WHOLE + '"deploy": {"vela": {"accelerator": |}}}': {'"ethos-u55-128"'},
    }
    answers = asked(*offers)
    lacks = {
        text: sorted(wanted - set(answer["labels"]))
        for (text, wanted), answer in zip(offers.items(), answers, strict=True)
    }
    assert {text: names for text, names in lacks.items() if names} == {}
    variant, extending = (set(answers[index]["labels"]) for index in (7, 11))
    assert not variant & {"extends", "variants", "matrix"}
    assert "extends" not in extending


def test_an_editor_opens_the_schema_at_the_path_that_doit_schema_prints() -> None:
    command = [sys.executable, "-m", "doit", "schema", "--path"]
    path = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()
    spec = WHOLE + '"quantize": {"sch|eme": "uint9"}}'
    texts = (spec.replace("{", f'{{"$schema": {json.dumps(name)}, ', 1) for name in (path, f"{path}.not"))
    answer, lost = asked(*texts, with_schema=False)
    assert "asymmetric, one scale per tensor" in answer["hover"]
    assert [fault["text"] for fault in answer["faults"]] == ['"uint9"']
    assert lost["hover"] == ""


def test_an_editor_explains_the_field_below_the_cursor() -> None:
    texts = {
        WHOLE + '"tra|in": {}}': "The float training",
        START + '"model": {"na|me": "digitsnet"}}': "A network shipped with qatbuild",
        WHOLE + '"variants": {"a": {"quantize": {"sch|eme": "int8"}}}}': "asymmetric, one scale per tensor",
        EXTENDS + '"evaluate": {"min_t|op1": 90}}': "least top-1 of the .tflite",
    }
    hovers = [answer["hover"].replace("\\", "") for answer in asked(*texts)]
    assert [text for hover, text in zip(hovers, texts.values(), strict=True) if text not in hover] == []


def test_an_editor_underlines_faults() -> None:
    texts = {
        WHOLE + '"trian": {}}': '"trian"',
        WHOLE + '"quantize": {"scheme": "uint9"}}': '"uint9"',
        WHOLE + '"dataset": {"validation": 2}}': "2",
        WHOLE + '"variants": {"a": {"quantise": {}}}}': '"quantise"',
        EXTENDS + '"train": {"steps": "many"}}': '"many"',
    }
    answers = asked(*texts, START.rstrip(", ") + "}")
    assert [[fault["text"] for fault in answer["faults"]] for answer in answers[:-1]] == [
        [text] for text in texts.values()
    ]
    assert [fault["message"] for fault in answers[-1]["faults"]] == ['Missing property "model".']


def test_an_editor_underlines_nothing_in_a_right_spec_a_variant_and_a_spec_that_extends() -> None:
    files = [
        path for path in (REPOSITORY / "specs").rglob("*.json") if path in set(find(REPOSITORY / "specs").values())
    ]
    patches = [
        WHOLE + '"variants": {"a": {"train": {"steps": 5}, "augment": null, "quantize": {"learning_rate": null}}}}',
        EXTENDS + '"train": {"learning_rate": {"final": 0.1}}, "input": null, "dataset": {"path": null}}',
    ]
    answers = asked(*(_SCHEMA_LINE.sub("", path.read_text()) for path in files), *patches)
    faulty = zip([*map(str, files), *patches], answers, strict=True)
    assert [(text, answer["faults"]) for text, answer in faulty if answer["faults"]] == []
