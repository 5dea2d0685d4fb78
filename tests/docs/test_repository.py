"""The workflow, the hooks, the templates and the package's metadata are valid and agree with each other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import REPOSITORY

METADATA = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
VERSIONS = {"3.11", "3.12", "3.13"}
DODO = "from qatbuild.plugin import door\n\nDOIT_CONFIG, task_specs = door(__file__)\n"


def read(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / name).read_text())


def test_the_workflow_runs_ci_on_every_python_that_the_package_supports() -> None:
    workflow = read(".github/workflows/ci.yml")
    job = workflow["jobs"]["run"]
    assert set(workflow["on"]) == {"push", "pull_request"}
    assert set(job["strategy"]["matrix"]["python"]) == VERSIONS
    assert [step["run"] for step in job["steps"] if step.get("run") == ".ci/run"]
    assert os.access(REPOSITORY / ".ci/run", os.X_OK)


def test_contributors_are_told_of_every_folder_of_tests() -> None:
    described = set(re.findall(r"`tests/(\w+)`", (REPOSITORY / ".github/CONTRIBUTING.md").read_text()))
    assert described == {folder.parent.name for folder in (REPOSITORY / "tests").glob("*/__init__.py")}


def test_ci_runs_the_checks_of_a_commit() -> None:
    script = (REPOSITORY / ".ci/run").read_text()
    programs = ("ruff check", "ruff format", "mypy", "lint-imports", "doit")
    assert [program for program in programs if f".venv/bin/{program}" not in script] == []


def test_an_issue_asks_for_the_explanation_of_the_label() -> None:
    form = read(".github/ISSUE_TEMPLATE/bug.yml")
    (explain,) = [field for field in form["body"] if field["id"] == "explain"]
    assert "doit explain --json" in explain["attributes"]["description"]
    assert explain["validations"]["required"]


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("github-workflows", "workflows/ci.yml"),
        ("github-issue-forms", "ISSUE_TEMPLATE/bug.yml"),
        ("github-issue-config", "ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_github_files_obey_their_schemas(schema: str, name: str) -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [str(program), "--builtin-schema", f"vendor.{schema}", str(REPOSITORY / ".github" / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def hooks() -> dict[str, dict[str, Any]]:
    (local,) = read(".pre-commit-config.yaml")["repos"]
    return {hook["id"]: hook for hook in local["hooks"]}


def test_hooks_before_a_commit_run_programs_of_the_development_environment() -> None:
    programs = {hook["entry"].split()[0] for hook in hooks().values()}
    assert [name for name in programs if not Path(sys.executable).with_name(name).is_file()] == []


def test_every_whole_spec_is_checked_before_a_commit_and_obeys_the_schema() -> None:
    specs = {path.relative_to(REPOSITORY).as_posix(): path for path in (REPOSITORY / "specs").rglob("*.json")}
    whole = {name for name, path in specs.items() if "extends" not in json.loads(path.read_text())}
    hook = hooks()["specs"]
    assert {name for name in specs if re.search(hook["files"], name)} == whole
    program, *options = hook["entry"].split()
    command = [Path(sys.executable).with_name(program), *options, *sorted(whole)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_project_s_hook_refuses_a_spec_with_a_fault(tmp_path: Path) -> None:
    (hook,) = read(".pre-commit-hooks.yaml")
    assert hook["entry"] == hooks()[hook["id"]]["entry"]
    assert all(re.search(hook["files"], name) for name in ("specs/a.json", "dodo.py", "pyproject.toml"))
    (tmp_path / "dodo.py").write_text(DODO)
    (tmp_path / "specs").mkdir()
    spec = json.loads((REPOSITORY / "specs/digits.json").read_text())
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for document, status in ((spec, 0), ({**spec, "trian": {}}, 1)):
        (tmp_path / "specs/net.json").write_text(json.dumps(document))
        done = subprocess.run(
            hook["entry"].split(), cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr


@pytest.mark.parametrize("field", ["description", "readme", "requires-python", "authors", "keywords", "classifiers"])
def test_the_package_describes_itself(field: str) -> None:
    assert METADATA[field]


def test_classifiers_name_the_pythons_that_are_tested() -> None:
    named = {re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each) for each in METADATA["classifiers"]}
    assert {match[1] for match in named if match} == VERSIONS
    assert (REPOSITORY / "qatbuild/py.typed").is_file()
