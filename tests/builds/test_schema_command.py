"""`doit schema` prints what an editor needs, in a project and outside of one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.builds.conftest import ToyProject


def printed(toy: ToyProject, *arguments: str) -> str:
    done = toy.doit("schema", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_path_leads_to_the_schema_that_is_printed(toy: ToyProject) -> None:
    assert Path(printed(toy, "--path").strip()).read_text() == printed(toy)


def test_the_printed_schema_takes_a_spec_a_variant_and_a_spec_that_extends(toy: ToyProject) -> None:
    file = toy.root / "schema.json"
    file.write_text(printed(toy))
    toy.spec("many", variants={"a": {"train": {"steps": 5}, "augment": None}})
    (toy.root / "specs/over.json").write_text('{"extends": "net.json", "train": {"steps": 5}, "deploy": null}')
    specs = [*map(str, (toy.root / "specs").glob("*.json"))]
    check = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(file)]
    done = subprocess.run([*check, *specs], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (toy.root / "specs/over.json").write_text('{"extends": "net.json", "train": {"stesp": 5}}')
    assert subprocess.run([*check, *specs], capture_output=True, check=False).returncode == 1


def test_a_section_is_printed_alone_and_a_misspelt_one_is_suggested(toy: ToyProject) -> None:
    sections = json.loads(printed(toy, "quantize", "deploy"))
    assert sections.keys() == {"quantize", "deploy"}
    assert "scheme" in sections["quantize"]["properties"]
    done = toy.doit("schema", "quantise")
    assert done.returncode == 3
    assert done.stderr == 'ERROR: doit schema: no section is called "quantise". Did you mean "quantize"?\n'


def test_it_is_printed_where_no_dodo_file_is_and_beside_a_broken_one(toy: ToyProject) -> None:
    (toy.root / "dodo.py").write_text("raise RuntimeError\n")
    assert json.loads(printed(toy))["title"] == "qatbuild spec"
    (toy.root / "dodo.py").unlink()
    assert json.loads(printed(toy))["title"] == "qatbuild spec"


def test_a_task_with_its_name_is_run_instead(toy: ToyProject) -> None:
    text = (toy.root / "dodo.py").read_text()
    (toy.root / "dodo.py").write_text(f"{text}\ndef task_schema():\n    return {{'actions': ['echo from the task']}}\n")
    assert "from the task" in printed(toy)
