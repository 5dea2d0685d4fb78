"""Every command block of the README runs as it stands, in a copy of the project.

The first two (install, test) are run by .ci/run, on a clean checkout and in a fresh environment: here the first would
install into itself, and the second is this run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths
from tests.e2e.conftest import REPOSITORY, Project

README = (REPOSITORY / "README.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
OUTSIDE = COMMANDS[2:]


def test_first_command_installs_and_builds_and_the_second_tests() -> None:
    first, second = (command.strip() for command in COMMANDS[:2])
    assert first.endswith(".venv/bin/doit")
    assert second == ".venv/bin/pytest"


@pytest.fixture(scope="module")
def copy(digits: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project with the digits built."""
    root = tmp_path_factory.mktemp("readme") / "project"
    ignore = shutil.ignore_patterns(".git", "build", ".venv", "__pycache__", ".*_cache", "data")
    shutil.copytree(REPOSITORY, root, ignore=ignore)
    shutil.copytree(digits.root / "build", root / "build")
    return root


@pytest.mark.parametrize("command", OUTSIDE, ids=lambda command: command.splitlines()[0])
def test_command_block_runs(copy: Path, command: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(copy)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_example_spec_is_valid(tmp_path: Path) -> None:
    example = re.search(r"^```json\n(\{\n.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert example
    file = tmp_path / "example.json"
    file.write_text(example[1])
    assert [variant.label for variant in load("example", file, AllowedPaths(tmp_path))] == [
        "example@short",
        "example@long",
    ]


def test_dodo_file_is_the_one_that_is_shown() -> None:
    assert re.sub(r'""".*?"""\n\n', "", (REPOSITORY / "dodo.py").read_text()) in README


def test_every_artifact_that_the_readme_names_is_built(digits: Project) -> None:
    named = set(re.findall(r"build/digits/[a-z_.]*[a-z]", README))
    assert "build/digits/model.tflite" in named
    assert [path for path in named if not (digits.root / path).is_file()] == []
