"""A copy of the project in a temporary folder, built by real doit with the real toolchain, once a test session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
TINY = {"steps": 40, "batch_size": 32, "learning_rate": {"initial": 0.003}, "optimizer": {"name": "adam"}}


@dataclass
class Project:
    """A project that uses qatbuild as installed here."""

    root: Path

    def doit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run doit in the project; stdout and stderr are texts."""
        command = [sys.executable, "-m", "doit", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def build(self, *arguments: str) -> str:
        """Run doit, which must succeed; what it printed."""
        done = self.doit(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def spec(self, name: str, **fields: Any) -> None:
        """Write specs/NAME.json: a digits network trained for a moment, with some fields replaced."""
        document = {
            "input": {"mean": 0, "std_dev": 255},
            "model": {"name": "digitsnet"},
            "train": TINY,
            "quantize": {"steps": 20},
            "evaluate": {"max_accuracy_drop": 100, "latency_runs": 5},
            **fields,
        }
        (self.root / "specs" / f"{name}.json").write_text(json.dumps(document))

    def report(self, label: str) -> dict[str, Any]:
        """The report of a label."""
        return dict(json.loads((self.root / "build" / label / "report.json").read_text()))


def new_project(root: Path) -> Project:
    """An empty project below `root`."""
    (root / "specs").mkdir(parents=True)
    shutil.copy(REPOSITORY / "dodo.py", root)
    return Project(root)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    return new_project(tmp_path / "project")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The shipped digits spec, built. Tests may look, not touch."""
    project = new_project(tmp_path_factory.mktemp("digits") / "project")
    shutil.copy(REPOSITORY / "specs/digits.json", project.root / "specs")
    shutil.copytree(
        REPOSITORY / "qatbuild/schema", project.root / "qatbuild/schema", ignore=shutil.ignore_patterns("__pycache__")
    )
    (project.root / "build.txt").write_text(project.build("digits"))
    return project
