"""Every --json output has the shape that qatbuild/plugin/commands/output.schema.json describes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.builds.conftest import SPEC, ToyProject, toy_at
from tests.builds.test_affected import git
from tests.docs.pages import BLOCKS
from tests.unit.test_layer_table import row

REPOSITORY = Path(__file__).parents[2]
SCHEMA: dict[str, Any] = json.loads((REPOSITORY / "qatbuild/plugin/commands/output.schema.json").read_text())

COMMANDS = {
    "list": [["--json"], ["--json", "--all", "--status"]],
    "plan": [["--json"], ["--json", "net"]],
    "explain": [["--json"], ["--json", "net"]],
    "status": [["--json"], ["--json", "net:float"]],
    "metrics": [["--json"], ["--json", "net"]],
    "report": [["--format", "json"], ["--format", "json", "net"]],
    "report_compare": [["--compare", "--format", "json", "net", "other"]],
    "diff": [["--json"], ["--json", "HEAD", "HEAD"], ["--format", "json", "HEAD~1"]],
}
"""Command -> its arguments, in a project where something is refused, failed, stale, not built or faulty."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> ToyProject:
    """A repository in which every member of the outputs has a value. Not to touch."""
    toy = toy_at(tmp_path_factory.mktemp("outputs") / "project")
    (toy.root / ".gitignore").write_text("build/\n*.txt\nreport.json\n")
    toy.spec("other", train={**SPEC["train"], "steps": 7}, deploy={"litert": {}})
    toy.spec("failing", train={**SPEC["train"], "steps": 8})
    git(toy.root, "init", "-q", "-b", "main")
    for name in ("first", "second"):
        toy.spec("net", description=name, train={**SPEC["train"], "steps": len(name)})
        git(toy.root, "add", "-A")
        git(toy.root, "commit", "-qm", name)
    (toy.root / "report.json").write_text(json.dumps({"gates": []}))
    toy.built("net", "other")
    gate = {"name": "min_top1", "wanted": "95 %", "got": "91 %", "passed": False}
    more = {"gates": [gate], "layers": [row("conv1", "CONV_2D")], "latency_ms": {"median": 0.5}}
    (toy.root / "report.json").write_text(json.dumps(more))
    toy.spec("net", evaluate={"min_top1": 95})
    (toy.root / "broken.txt").write_text("evaluate refuse")
    assert toy.doit("net").returncode == 1
    (toy.root / "broken.txt").write_text("float fail")
    assert toy.doit("failing").returncode == 1
    toy.spec("later", train={**SPEC["train"], "steps": 9})
    return toy


def described(command: str) -> dict[str, Any]:
    return {"$schema": SCHEMA["$schema"], "$ref": f"#/$defs/{command}", "$defs": closed(SCHEMA["$defs"])}


def closed(value: Any) -> Any:
    """The schema with no member in an output that it does not describe."""
    if isinstance(value, dict):
        more = {"additionalProperties": False} if "required" in value else {}
        return {**{name: closed(each) for name, each in value.items()}, **more}
    return [closed(each) for each in value] if isinstance(value, list) else value


def output(toy: ToyProject, command: str, arguments: list[str]) -> Any:
    return json.loads(toy.doit(command.partition("_")[0], *arguments).stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_output_is_as_it_is_described(project: ToyProject, command: str) -> None:
    for arguments in COMMANDS[command]:
        jsonschema.Draft202012Validator(described(command)).validate(output(project, command, arguments))


def test_specs_with_faults_are_named_in_every_output(project: ToyProject, tmp_path: Path) -> None:
    toy = ToyProject(tmp_path / "project")
    shutil.copytree(project.root, toy.root)
    toy.spec("faulty", trian={})
    for command in COMMANDS.keys() - {"list", "report_compare"}:
        value = output(toy, command, COMMANDS[command][0])
        jsonschema.Draft202012Validator(described(command)).validate(value)
        assert value["unreadable"] == ["faulty"], command


def test_the_example_in_the_documentation_is_as_it_is_described() -> None:
    (example,) = [each.text for each in BLOCKS if each.page == "commands.md" and each.text.startswith("{")]
    jsonschema.Draft202012Validator(described("metrics")).validate(json.loads(example))


def test_the_schema_is_a_schema_and_describes_these_commands_only() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    used = {text.removeprefix("#/$defs/") for text in references(SCHEMA)}
    assert SCHEMA["$defs"].keys() == COMMANDS.keys() | used


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        here = {value["$ref"]} if "$ref" in value else set()
        return here.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()
