"""Faults of specs with their lines: the token that is wrong, and the places through which a value came."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qatbuild.exchange.errors import LINES
from qatbuild.schema.correct import correct
from qatbuild.schema.diagnostics import FaultySpecError
from qatbuild.schema.load import load
from qatbuild.schema.positions import Positions
from qatbuild.schema.rules import AllowedPaths

BASE = """{
  "input": {"mean": 1, "std_dev": 2},
  "model": {"name": "lenet"},
  "train": {"steps": 100, "learning_rate": {"initial": 0.1}}
}
"""


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of specs below the working directory, with a base that others extend."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/_base.json").write_text(BASE)
    return tmp_path / "specs"


def refused(specs: Path, text: str) -> FaultySpecError:
    file = specs / "net.json"
    file.write_text(text)
    with pytest.raises(FaultySpecError) as caught:
        load("net", file, AllowedPaths(specs.parent))
    return caught.value


def test_a_misspelt_field_is_underlined(specs: Path) -> None:
    assert refused(specs, BASE.replace("std_dev", "std")).block() == (
        "A spec has 1 fault.\n"
        '  specs/net.json:2:24  /input/std  unknown field. Did you mean "std_dev"?\n'
        '    2 |   "input": {"mean": 1, "std": 2},\n'
        "      |                        ^^^^^"
    )


def test_a_value_of_a_base_is_shown_where_it_is_written_and_where_it_is_extended(specs: Path) -> None:
    (specs / "_base.json").write_text(BASE.replace("100", "0"))
    lines = refused(specs, '{\n "extends": "_base.json"\n}').block().splitlines()
    assert lines[1] == "  specs/_base.json:4:22  /train/steps  must be at least 1, got 0."
    assert lines[4:] == [
        "  specs/net.json:2:13  is extended here",
        '    2 |  "extends": "_base.json"',
        "      |             ^^^^^^^^^^^^",
    ]


def test_a_fault_of_one_variant_names_the_variant(specs: Path) -> None:
    quantize = '"quantize": {"quant_delay": 15},\n'
    variants = '"variants": {\n    "long": {},\n    "short": {"quantize": {"steps": 10}}\n  },\n'
    error = refused(specs, BASE.replace('  "train"', f'  {quantize}  {variants}  "train"'))
    (fault,) = error.diagnostics
    assert fault.pointer == "/quantize/quant_delay"
    ((remark, place),) = fault.notes
    assert (remark, place.line, place.text.strip()) == (
        "only in the variant short",
        7,
        '"short": {"quantize": {"steps": 10}}',
    )


def test_the_base_that_exists_is_suggested(specs: Path) -> None:
    error = refused(specs, '{"extends": "_bse.json"}')
    assert "net.json:1:13  /extends  _bse.json. Did you mean" in error.block()
    assert error.diagnostics[0].replacement == '"_base.json"'


@pytest.mark.parametrize(
    ("text", "column", "token"),
    [
        ('{"a": 1, "b": 2, "a": 3}', 18, '"a"'),
        ('{"a": [1, -Infinity]}', 11, "-Infinity"),
        ('{"a": 1e999}', 7, "1e999"),
    ],
)
def test_what_json_lacks_is_underlined(specs: Path, text: str, column: int, token: str) -> None:
    place = refused(specs, text).diagnostics[0].place
    assert place is not None
    assert (place.column, place.text[place.column - 1 :][: place.length]) == (column, token)


def test_of_many_faults_each_has_one_line(specs: Path) -> None:
    unknown = {f"key{number}": 1 for number in range(30)}
    lines = refused(specs, json.dumps({**json.loads(BASE), **unknown})).block().splitlines()
    assert len(lines) == LINES
    assert "|" not in "".join(lines)


def test_a_long_line_is_shown_around_the_token(specs: Path) -> None:
    text = json.dumps({"description": "x" * 300, **json.loads(BASE), "trian": {}, "quantize": {}})
    shown, carets = refused(specs, text).block().splitlines()[2:4]
    assert len(shown) < 120
    assert shown[carets.index("^") :].startswith('"trian"')
    assert carets.count("^") == len('"trian"')


def test_tabs_and_controls_before_a_token_do_not_move_the_carets(specs: Path) -> None:
    text = BASE.replace('"mean": 1, "std_dev"', '\t"mean":\t1, "\u202e": 1, "std_dev"').replace(": 2}", ": 0}")
    error = refused(specs, text)
    shown, carets = [line for line in error.block().splitlines() if "|" in line][-2:]
    assert shown[carets.index("^")] == "0"


def test_corrections_are_written_where_the_mistakes_are(specs: Path) -> None:
    (specs / "_base.json").write_text(BASE.replace("std_dev", "std").replace("lenet", "lnet"))
    text = '{"extends": "_base.json", "matrix": {"train.stepz": [5, 6]}}'
    errors = [refused(specs, text)]
    assert [each.now for each in correct(errors, specs.parent)] == ['"std_dev"', '"lenet"', '"train.steps"']
    assert (specs / "_base.json").read_text() == BASE
    assert len(load("net", specs / "net.json", AllowedPaths(specs.parent))) == 2


def test_a_file_outside_the_project_is_not_corrected(specs: Path, tmp_path: Path) -> None:
    error = refused(specs, BASE.replace("std_dev", "std"))
    assert correct([error], tmp_path / "elsewhere") == []
    assert '"std":' in (specs / "net.json").read_text()


def test_a_file_that_changed_meanwhile_is_not_corrected(specs: Path) -> None:
    error = refused(specs, BASE.replace("std_dev", "std"))
    (specs / "net.json").write_text(changed := BASE.replace("  ", "\t").replace("std_dev", "std"))
    assert correct([error], specs.parent) == []
    assert (specs / "net.json").read_text() == changed


def test_every_key_and_value_of_a_text_has_its_span() -> None:
    text = '{ "a\\"}" : [1, {"b": null}, []],"": "x, y" }'
    members = Positions(text).members
    read = {keys: (key and text[slice(*key)], text[slice(*value)]) for keys, (key, value) in members.items()}
    assert read == {
        (): (None, text),
        ('a"}',): ('"a\\"}"', '[1, {"b": null}, []]'),
        ('a"}', 0): (None, "1"),
        ('a"}', 1): (None, '{"b": null}'),
        ('a"}', 1, "b"): ('"b"', "null"),
        ('a"}', 2): (None, "[]"),
        ("",): ('""', '"x, y"'),
    }


@pytest.mark.parametrize("text", ["", "{", '{"a"', '{"a": ', "[1,", "}", '{"a": 1 2}', '"', "[" * 5000])
def test_a_text_that_is_no_json_has_the_members_before_its_error(text: str) -> None:
    assert set(Positions(text).members) <= {(), ("a",), (0,), *((0,) * depth for depth in range(5000))}
