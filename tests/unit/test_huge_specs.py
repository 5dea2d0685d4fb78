"""Specs and files of any size and kind: the work to refuse one is bounded, which is counted here instead of timed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qatbuild.exchange.errors import LINES, SpecError
from qatbuild.schema import faults, load, matrix, read
from qatbuild.schema.load import load as load_spec
from qatbuild.schema.rules import AllowedPaths
from tests.unit.test_spec_errors import patched, refused

MANY = 30_000


class Calls:
    """Counts the calls of a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.count = function, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.count += 1
        return self.function(*arguments, **options)


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Calls:
    calls = Calls(getattr(module, name))
    monkeypatch.setattr(module, name, calls)
    return calls


def test_only_the_first_of_30_000_unknown_keys_are_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch, faults, "suggest")
    lines = refused(tmp_path, patched(**{f"key{number}": 1 for number in range(MANY)})).block().splitlines()
    assert calls.count <= faults.MOST
    assert lines[0] == "A spec has 100 faults or more."
    assert len(lines) == LINES
    assert lines[-1] == "  and 82 more"


def test_a_long_word_is_compared_with_no_other(tmp_path: Path) -> None:
    block = refused(tmp_path, patched(**{"k" * 1_000_000: 1})).block()
    assert "unknown field" in block
    assert len(block) < 2000


@pytest.mark.parametrize(
    "fields",
    [
        {"trian": 1, "variants": {f"v{number}": {"train": {"seed": number}} for number in range(9000)}},
        {"variants": {f"v{number}": {"train": {"seed": -1}} for number in range(9000)}},
        {"matrix": {"train.seed": list(range(-9000, 0))}},
    ],
)
def test_few_of_9000_variants_with_faults_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    calls = counted(monkeypatch, faults, "_of_schema")
    refused(tmp_path, patched(**fields))
    assert calls.count <= faults.MOST + 2


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"variants": {f"v{number}": {} for number in range(100_000)}}, "/variants  makes more than 10000 variants."),
        (
            {"matrix": {f"train.f{number}": list(range(10)) for number in range(9)}},
            "/matrix  makes more than 10000 var",
        ),
        ({"matrix": {f"a.b{number}": [1] for number in range(MANY)}}, "/matrix  has combinations of more than 200 fi"),
        ({"matrix": {"include": [{f"a.b{number}": 1 for number in range(300)}]}}, "has combinations of more than 200"),
        ({"matrix": {"include": [{"train.seed": number} for number in range(MANY)]}}, "/matrix  makes more than 10000"),
        ({"matrix": {".".join("a" * 5000): [1]}}, "/matrix  must match"),
        (
            {"model": {"call": "a:b", "options": {"x": "x" * 100_000}}, "matrix": {"train.seed": list(range(5000))}},
            "makes 5000 variants of 477 MiB together, more than 64.",
        ),
        (
            {
                "model": {"call": "a:b", "options": {"x": "x" * 100_000}},
                "variants": {f"v{number}": {} for number in range(5000)},
            },
            "/variants  makes 5000 variants of 477 MiB together, more than 64.",
        ),
    ],
)
def test_too_much_is_refused_before_a_variant_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], text: str
) -> None:
    cells, variants = counted(monkeypatch, matrix, "Cell"), counted(monkeypatch, load, "rule_violations")
    assert text in refused(tmp_path, patched(**fields)).block()
    assert cells.count == 0
    assert variants.count <= 1  # Of the spec itself, whose matrix makes none.


@pytest.mark.parametrize("fields", [{"quantize": {"learning_rate": {"boundaries": ["x"] * MANY}}}])
def test_the_first_of_many_items_are_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    calls = counted(monkeypatch, faults, "_faults")
    refused(tmp_path, patched(**fields))
    assert calls.count <= 2 * faults.MOST


def test_the_largest_matrix_is_expanded() -> None:
    combined, mine = matrix.combinations(
        {"train.seed": list(range(100)), "train.steps": list(range(1, 101))}, patched()
    )
    assert (len(combined), mine) == (matrix.LIMIT, [])
    assert len(matrix.combinations({"train.seed": list(range(matrix.LIMIT))}, patched())[0]) == matrix.LIMIT


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "circle"])
def test_what_is_no_file_is_refused_without_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file = tmp_path / "net.json"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if kind == "device" else "net.json")
    calls = counted(monkeypatch, os, "read")
    with pytest.raises(SpecError, match="A spec cannot be read"):
        load_spec("net", file, AllowedPaths(tmp_path))
    (tmp_path / "other.json").write_text(json.dumps(patched(extends="net.json")))
    with pytest.raises(SpecError, match=r"extends no file|extends itself"):
        load_spec("other", tmp_path / "other.json", AllowedPaths(tmp_path))
    monkeypatch.undo()
    assert calls.count <= 4  # Of the other spec, and again for the place of its fault.


def test_a_file_is_read_no_further_than_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(SpecError, match="A spec is too large") as caught:
        load_spec("net", file, AllowedPaths(tmp_path))
    assert f"more than {read.LARGEST_BYTES:,}" in caught.value.block()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"a":' * 300_000, "nested too deeply"),
        (b"", "net.json:1:1  Expecting value"),
        (b"\xef\xbb\xbf", "net.json:1:1  Expecting value"),
        ('{"input": 1}'.encode("utf-16"), "hint: save it as UTF-8"),
        (b'{"description": "\xff"}', "hint: save it as UTF-8"),
        (b'{"a": 1, "a": 2}', 'the key "a" occurs twice'),
        (b'{"a": ' + b"9" * 1_000_000 + b"}", "999999999999999999... is too large a number"),
        (b'{"a": 1e' + b"9" * 1_000_000 + b"}", "is too large a number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"a": {"b": ["\\ud800"]}}', "/a/b/0  '\\ud800' is half of a character"),
        (b'{"a": {"\\u0000": 1}}', r"/a/\x00  '\x00' ends a text in most programs"),
        (b'{"a": ' + b" " * 1_000_000 + b"b}", "... "),
    ],
)
def test_files_of_any_bytes_are_refused_with_their_reason(tmp_path: Path, content: bytes, text: str) -> None:
    file = tmp_path / "net.json"
    file.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_spec("net", file, AllowedPaths(tmp_path))
    block = caught.value.block()
    assert text in block
    assert len(block) < 1000


def test_a_pair_that_makes_one_character_is_a_text(tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    file.write_text(json.dumps(patched(description="\U0001f600")))
    assert "\\ud83d\\ude00" in file.read_text()
    assert load_spec("net", file, AllowedPaths(tmp_path))[0].description == "\U0001f600"
