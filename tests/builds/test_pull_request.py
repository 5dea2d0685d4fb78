"""A pull request in a fresh clone with a warm cache: by its commands, and by the workflow files of docs/monorepo.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.benchmarks.cache_server import served
from tests.benchmarks.pull_request import Scripted, git, toys
from tests.builds.conftest import REPOSITORY, toy_at
from tests.docs.pages import BLOCKS

SPECS = 50
ROW = "| `v0` | top1 | 90.00 | 89.50 | 89.40 | 100 |  | 1 of 1 passed |"
STEPS = "| `/train/steps` | `100` | `200` |"
_EXPRESSION = re.compile(r"\$\{\{ (\S+) \}\}")
REFUSED = {"name": "min_top1", "wanted": "70", "got": "60", "passed": False}


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Scripted:
    """A repository whose main branch is built, and its results in a cache."""
    folder = tmp_path_factory.mktemp("pull_request")
    scripted = toys(folder / "main", SPECS, folder / "cache")
    scripted.built()
    return scripted


def test_one_changed_spec_is_named_built_and_shown_and_of_the_cache_only_its_results_are_asked_for(
    main: Scripted, tmp_path: Path
) -> None:
    with served(main.cache) as url:
        turn = main.pull_request(tmp_path / "clone", url)
        answers = json.load(urllib.request.urlopen(f"{url}/count"))["answers"]
    assert turn.labels == ["v0"]
    folders = {path.name.partition("-")[0] for path in (tmp_path / "clone/build").glob("**/*.manifest.json")}
    assert folders == {f"{stage}.manifest.json" for stage in _STAGES}
    assert [path.name for path in (tmp_path / "clone/build").glob("v*")] == ["v0"]
    lines = turn.comment.splitlines()
    assert lines[0] == "### qatbuild: 1 changed, from origin/main to the working tree"
    assert {ROW, STEPS} <= set(lines)
    assert answers < SPECS * 2


_STAGES = ("dataset", "check", "float", "quantize", "export", "freeze", "convert", "evaluate")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of a small repository, whose main branch is built into ../cache; one spec is changed in it."""
    toy = toy_at(tmp_path / "main")
    toy.spec("other", evaluate={"min_top1": 60})
    Scripted(toy.root, tmp_path / "cache", lambda _, __: None).built()
    git(tmp_path, "clone", "-q", str(toy.root), "clone")
    clone = type(toy)(tmp_path / "clone")
    clone.spec("net", evaluate={"min_top1": 70})
    return clone.root


KEEP = """for last; do :; done
case "$last" in *.md) cp "$last" "$POSTED";; *) printf "%s\\n" "$last" > "$POSTED";; esac"""
"""A platform's tool that keeps its last argument: the comment, or the file with it."""


def script(clone: Path, text: str, environment: Mapping[str, str]) -> bool:
    """Runs a part of a workflow, where pip does nothing; returns whether it succeeded."""
    tools = clone / "build/tools"
    tools.mkdir(parents=True, exist_ok=True)
    programs = {"doit": f'exec "{sys.executable}" -m doit "$@"', "pip": "exit 0", "gh": KEEP, "glab": KEEP}
    for name, program in programs.items():
        (tools / name).write_text(f"#!/bin/bash\n{program}\n")
        (tools / name).chmod(0o755)
    variables = {**os.environ, **environment, "PATH": os.pathsep.join([str(tools), os.environ["PATH"]])}
    variables |= {"PYTHONPATH": str(REPOSITORY), "POSTED": str(clone.parent / "posted.md")}
    command = ["bash", "-e", "-o", "pipefail", "-c", text]
    return subprocess.run(command, cwd=clone, env=variables, check=False).returncode == 0


def of_github(clone: Path) -> tuple[bool, list[str]]:
    """Runs the steps of the GitHub workflow; returns whether the job succeeded, and the artifacts' patterns."""
    (job,) = workflow(".github/workflows/models.yml")["jobs"].values()
    values = {"secrets.QATBUILD_CACHE": str(clone.parent / "cache"), "github.base_ref": "main"}
    values |= {"github.token": "secret", "github.event.number": "7"}

    def variables(fields: Mapping[str, Any]) -> dict[str, str]:
        return {
            name: re.sub(r"\$\{\{ (\S+) \}\}", lambda match: values[match[1]], text) for name, text in fields.items()
        }

    succeeded = True
    artifacts: list[str] = []
    for step in job["steps"]:
        if "upload-artifact" in step.get("uses", ""):
            artifacts = step["with"]["path"].split()
        if "run" in step and (succeeded or step.get("if") == "always()"):
            assert "${{" not in step["run"]  # A branch may have any name: it must not become a part of a script.
            succeeded &= script(clone, step["run"], variables({**job["env"], **step.get("env", {})}))
    return succeeded, artifacts


def of_gitlab(clone: Path) -> tuple[bool, list[str]]:
    """Runs the script of the GitLab job; returns whether it succeeded, and the artifacts' patterns."""
    job = workflow(".gitlab-ci.yml")["models"]
    base = subprocess.check_output(["git", "rev-parse", "origin/main"], cwd=clone, text=True).strip()
    variables = {"QATBUILD_CACHE": str(clone.parent / "cache"), "CI_MERGE_REQUEST_DIFF_BASE_SHA": base}
    variables["CI_MERGE_REQUEST_IID"] = "7"
    succeeded = script(clone, "\n".join(job["script"]), variables)
    assert script(clone, "\n".join(job["after_script"]), variables)
    return succeeded, [*job["artifacts"]["paths"], *job["artifacts"]["reports"].values()]


def workflow(file: str) -> Any:
    (block,) = [block for block in BLOCKS if block.file == file]
    return yaml.safe_load(block.text)


@pytest.mark.parametrize("run", [of_github, of_gitlab])
def test_the_workflow_files_build_compare_and_comment(clone: Path, run: Any) -> None:
    succeeded, artifacts = run(clone)
    assert succeeded
    assert "| `/evaluate/min_top1` |  | `70` |" in (clone.parent / "posted.md").read_text()
    assert not (clone / "build/other").exists()
    assert [pattern for pattern in artifacts if not list(clone.glob(pattern))] == []


@pytest.mark.parametrize("run", [of_github, of_gitlab])
def test_a_refused_model_fails_the_job_and_is_in_the_comment(clone: Path, run: Any) -> None:
    (clone / "broken.txt").write_text("evaluate refuse")
    (clone / "report.json").write_text(json.dumps({"gates": [REFUSED]}))
    succeeded, _ = run(clone)
    assert not succeeded
    assert "1 of 1 passed → REFUSED: min" in (clone.parent / "posted.md").read_text()
