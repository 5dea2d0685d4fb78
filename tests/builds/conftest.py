"""A project in a temporary folder whose stages are toys, built by real doit."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]

QUIET = """
from qatbuild.engine.live import monitor
monitor._LINE_EVERY_S = float("inf")
"""
"""Lets builds write no lines about progress, as those that take ten seconds on a busy machine would."""

DODO = f"""
from qatbuild.plugin import door
from tests.builds.toolchain import ToyExecutor
DOIT_CONFIG, task_specs = door(__file__, ToyExecutor())
{QUIET}"""

SPEC: dict[str, Any] = {
    "dataset": {"name": "cifar10", "path": "data.bin"},
    "input": {"mean": 121, "std_dev": 64},
    "model": {"name": "cifarnet"},
    "train": {"steps": 100, "learning_rate": {"initial": 0.1}},
}


@dataclass
class ToyProject:
    """A folder with a dodo.py, specs and one data file."""

    root: Path

    def spec(self, name: str, **fields: Any) -> None:
        """Writes specs/NAME.json: the toy spec with some fields replaced."""
        path = self.root / "specs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**SPEC, **fields}))

    def doit(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs doit in the project; stdout and stderr are texts. `options` are Popen's."""
        process = self.started(*arguments, **options)
        said = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, *said)

    def started(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Starts doit in the project; `options` are Popen's."""
        command = [sys.executable, "-m", "doit", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(command, cwd=self.root, env=environment, text=True, **streams)

    def module(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs qatbuild's own commands, whatever tasks the dodo.py has."""
        command = [sys.executable, "-m", "qatbuild.plugin", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def shell(self, arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs doit in a shell, which redirects its streams."""
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        command = f"{shlex.quote(sys.executable)} -m doit {arguments}"
        return subprocess.run(
            command, shell=True, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )

    @contextlib.contextmanager
    def taken(self) -> Iterator[int]:
        """Lets another process hold the build lock; yields its id."""
        lock = self.root / "build/.qatbuild/lock"
        code = (
            "import sys; from pathlib import Path; from qatbuild.exchange.lock import Owner; "
            f"owner = Owner(Path({str(lock)!r})); owner.take() or print('held', flush=True); sys.stdin.read()"
        )
        pipe, command = subprocess.PIPE, [sys.executable, "-c", code]
        with subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            try:
                yield holder.pid
            finally:
                holder.communicate("")

    def runs(self) -> list[str]:
        """Returns the stages that ran since the last call, in order."""
        counter = self.root / "runs.txt"
        names = counter.read_text().split() if counter.exists() else []
        counter.unlink(missing_ok=True)
        return names

    def built(self, *arguments: str) -> list[str]:
        """Runs doit, which must succeed, and returns the stages that ran."""
        done = self.doit(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.runs()

    def shared(self, stage: str) -> Path:
        """The one shared folder of a stage."""
        (folder,) = (self.root / "build" / "shared").glob(f"{stage}-*")
        return folder


def toy_at(root: Path) -> ToyProject:
    """Makes the project of the fixture `toy` in a folder."""
    root.mkdir(exist_ok=True)
    (root / "pyproject.toml").write_text("[tool.qatbuild]\nstore = false\n")
    (root / "dodo.py").write_text(DODO)
    project = ToyProject(root)
    (root / "specs").mkdir()
    (root / "specs" / "data.bin").write_text("pixels")
    project.spec("net")
    return project


@pytest.fixture
def toy(tmp_path: Path) -> ToyProject:
    """A project with one spec, `net`, and nothing built. It has no store, so stale stages run and are not restored."""
    return toy_at(tmp_path)
