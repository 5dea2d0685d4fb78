"""A project in a temporary folder whose stages are toys, built by real doit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]

DODO = """
from qatbuild.plugin import door
from tests.builds.toolchain import ToyExecutor
DOIT_CONFIG, task_specs = door(__file__, ToyExecutor())
"""

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
        """Write specs/NAME.json: the toy spec with some fields replaced."""
        path = self.root / "specs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**SPEC, **fields}))

    def doit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run doit in the project; stdout and stderr are texts."""
        command = [sys.executable, "-m", "doit", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def runs(self) -> list[str]:
        """The stages that ran since the last look, in order."""
        counter = self.root / "runs.txt"
        names = counter.read_text().split() if counter.exists() else []
        counter.unlink(missing_ok=True)
        return names

    def built(self, *arguments: str) -> list[str]:
        """Run doit, which must succeed; the stages that ran."""
        done = self.doit(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.runs()

    def shared(self, stage: str) -> Path:
        """The one shared folder of a stage."""
        (folder,) = (self.root / "build" / "shared").glob(f"{stage}-*")
        return folder


@pytest.fixture
def toy(tmp_path: Path) -> ToyProject:
    """A project with one spec, `net`, and nothing built. Without a store: what runs is what has to."""
    (tmp_path / "pyproject.toml").write_text("[tool.qatbuild]\nstore = false\n")
    (tmp_path / "dodo.py").write_text(DODO)
    project = ToyProject(tmp_path)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "data.bin").write_text("pixels")
    project.spec("net")
    return project
