"""Every command and every program in README.md, qatbuild/docs and CONTRIBUTING.md runs, in a copy of the project.

The blocks that install and test are run by .ci/run, on a clean checkout and in a fresh environment: here the first
would install into itself, and the second is this run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qatbuild.engine.project import Project as Settings
from tests.docs.pages import BLOCKS, REPOSITORY, Block
from tests.e2e.conftest import Project

RUN = [block for block in BLOCKS if block.is_run]
FILES = [block for block in BLOCKS if block.file]


@pytest.fixture(scope="module")
def copy(digits: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project with the digits built, in git."""
    root = tmp_path_factory.mktemp("docs") / "project"
    changing = (".venv", "__pycache__", ".*_cache", ".hypothesis")  # Other tests write there.
    ignore = shutil.ignore_patterns(".git", "build", "data", "results", *changing)
    shutil.copytree(REPOSITORY, root, ignore=ignore)
    shutil.copytree(digits.root / "build", root / "build")
    spec = root / "specs/digits-deploy.json"  # without the routes whose tools may be missing here: see test_deploy.py
    spec.write_text(json.dumps({**json.loads(spec.read_text()), "deploy": {"litert": {}}}))
    for command in ("init -q", "add .", "commit -qm start", "branch origin/main"):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
        subprocess.run(["git", *identity, *command.split()], cwd=root, check=True)
    return root


def run(root: Path, program: list[str], text: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(root)}
    return subprocess.run(program, cwd=root, env=environment, input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.id)
def test_block_runs(copy: Path, block: Block) -> None:
    for file in FILES:
        if file.page == block.page:
            path = copy / file.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text)
    program = ["bash", "-euo", "pipefail"] if block.language == "sh" else [sys.executable, "-"]
    done = run(copy, program, block.text)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_python_of_the_deployment_page_names_a_class(copy: Path) -> None:
    (program,) = [block for block in RUN if block.page == "deploy.md" and "Interpreter(" in block.text]
    assert run(copy, [sys.executable, "-"], program.text).stdout.strip() in list("0123456789")


def test_the_dodo_file_in_the_readme_adds_its_prefix(copy: Path) -> None:
    shutil.copytree(copy / "specs", copy / "firmware/specs", dirs_exist_ok=True)
    (block,) = [block for block in FILES if block.file == "firmware/dodo.py" and block.page == "README.md"]
    (copy / block.file).write_text(block.text)
    done = run(copy / "firmware", ["doit", "plan", "models/digits:convert"], "")
    assert "models/digits:convert: not built yet" in done.stdout, done.stderr


def squeezed(line: str) -> str:
    """A line of output without what differs from build to build: numbers, column widths, how many share a stage."""
    line = re.sub(r"^(\.  )\S+?(:\w+)(?: \(and \d+ more\))?", r"\1LABEL\2", line)
    return " ".join(re.sub(r"\d[\d,.]*", "#", line).split())


def test_the_first_build_prints_what_the_readme_shows(digits: Project) -> None:
    (shown,) = [block for block in BLOCKS if block.language == "console" and block.page == "README.md"]
    printed = (digits.root / "build.txt").read_text() + digits.build("digits")
    lines = {squeezed(line) for line in printed.splitlines()}
    expected = [line for line in shown.text.splitlines() if line != "..." and not line.startswith("$")]
    assert [line for line in expected if squeezed(line) not in lines] == []


def test_every_artifact_that_the_pages_name_is_built(digits: Project) -> None:
    texts = "".join(page.read_text() for page in (REPOSITORY / "README.md", *REPOSITORY.glob("qatbuild/docs/*.md")))
    named = set(re.findall(r"build/digits/[a-z_.]*[a-z]", texts))
    assert "build/digits/model.tflite" in named
    assert [path for path in named if not (digits.root / path).is_file()] == []


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=lambda block: block.id)
def test_settings_are_those_of_a_project(tmp_path: Path, block: Block) -> None:
    assert "qatbuild" in tomllib.loads(block.text)["tool"]
    (tmp_path / "pyproject.toml").write_text(block.text)
    Settings.at(tmp_path)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"], ids=lambda block: block.id)
def test_spec_in_a_page_is_valid(copy: Path, block: Block) -> None:
    """A whole spec as it stands; a part of one as a variant of the digits, whose model it may replace."""
    spec = json.loads(block.text)
    if "input" not in spec:
        base = json.loads((REPOSITORY / "specs/digits.json").read_text())
        base.pop("model" if "model" in spec else "", None)
        spec = {**base, **(spec if "matrix" in spec else {"variants": {"shown": spec}})}
    (copy / "small_networks.py").touch()
    (copy / "squares.py").touch()
    (copy / "specs/example.json").write_text(json.dumps(spec))
    done = run(copy, ["doit", "check", "example"], "")
    (copy / "specs/example.json").unlink()
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_first_spec_in_the_reference_makes_the_variants_that_it_names(copy: Path) -> None:
    first = next(block for block in BLOCKS if block.page == "spec.md" and block.language == "json")
    (copy / "specs/first.json").write_text(first.text)
    done = run(copy, ["doit", "check", "--json", "first"], "")
    (copy / "specs/first.json").unlink()
    assert json.loads(done.stdout)["labels"] == ["first@short", "first@long"]


def test_the_error_in_the_commands_page_is_the_one_that_is_printed(copy: Path) -> None:
    shown = next(block for block in BLOCKS if block.page == "commands.md" and "trian" in block.text)
    spec = copy / "specs/digits.json"
    good = spec.read_text()
    spec.write_text(json.dumps({**json.loads(good), "trian": {}}, indent=2))
    done = run(copy, ["doit", "check", "digits"], "")
    spec.write_text(good)
    assert shown.text in done.stdout.replace(f"{copy}/", "")
