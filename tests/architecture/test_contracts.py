"""The house stands as it was drawn."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qatbuild.plugin.commands.inherited import COMMANDS
from qatbuild.schema.load import RESERVED

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted((REPOSITORY / "qatbuild").rglob("*.py"))
TOP = {"dodo.py", "qatbuild", "specs", "tests", "pyproject.toml", "README.md"}


def test_import_contracts_are_kept() -> None:
    """The contracts stand in pyproject.toml, [tool.importlinter]."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_top_level_holds_nothing_else() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: git cannot list the files")
    names = {name.split("/")[0] for name in listed.stdout.splitlines()}
    assert {name for name in names if not name.startswith(".")} <= TOP


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_module_is_small_documented_and_named_after_a_concept(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    assert ast.get_docstring(ast.parse(text))
    assert path.stem not in {"utils", "util", "helpers", "common", "base", "core", "manager", "misc"}


def test_median_module_is_short() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in SOURCES)
    assert lengths[len(lengths) // 2] < 120


def test_a_command_s_name_is_no_label_and_forbids_no_task_of_another_project() -> None:
    points = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"]["doit.COMMAND"]
    assert set(points) <= RESERVED
    inherited = {name for name, place in points.items() if ".inherited:" in place} | {"run"}
    assert set(points) - inherited == set(COMMANDS)


def imported(*command: str, cwd: Path) -> set[str]:
    """The top-level packages in sys.modules when the command ends."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('MODULES', *{name.split('.')[0] for name in sys.modules}, file=sys.stderr))\n"
        "sys.argv = sys.argv[1:]\n"
        "from doit.__main__ import main\n"
        "raise SystemExit(main())\n"
    )
    program = [sys.executable, "-c", code, *command]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "info" in command, done.stderr  # info tells by its status whether it would run
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("MODULES")]
    return set(line.split()[1:])


@pytest.mark.parametrize("command", ["list", "info", "help", "explain", "plan", "graph", "check", "affected", "gc"])
def test_looking_at_the_build_imports_no_tensorflow_and_no_numpy(command: str) -> None:
    more = {"info": ["digits:convert"], "affected": ["--since", "HEAD"], "gc": ["--dry-run"]}
    arguments = [command, *more.get(command, [])]
    assert not {"tensorflow", "numpy", "keras"} & imported("doit", *arguments, cwd=REPOSITORY)
