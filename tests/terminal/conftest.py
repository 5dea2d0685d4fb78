"""A toy project whose stages say how far they are, and last until the test lets them end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builds.conftest import QUIET, ToyProject, toy_at
from tests.terminal.screen import Terminal

DODO = f"""
from qatbuild.plugin import door
from tests.terminal.talking import TalkingExecutor
DOIT_CONFIG, task_specs = door(__file__, TalkingExecutor())
{QUIET}"""


class Talking(ToyProject):
    """A toy project with stages that talk and last."""

    def says(self, stage: str, *lines: dict[str, Any]) -> None:
        """Lets a stage say lines, each the fields of an Activity or of a Warned."""
        (self.root / f"says-{stage}").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    def hold(self, *stages: str) -> None:
        """Lets stages last until they are released."""
        for stage in stages:
            (self.root / f"hold-{stage}").touch()

    def release(self, *stages: str) -> None:
        """Lets stages end."""
        for stage in stages:
            (self.root / f"hold-{stage}").unlink()

    def terminal(self, *arguments: str, **options: Any) -> Terminal:
        """Starts doit in a terminal."""
        return Terminal(sys.executable, "-m", "doit", *arguments, cwd=self.root, **options)


def step(done: int, **more: Any) -> dict[str, Any]:
    """The fields of a training's activity, of 200 steps."""
    fields = {"title": "float toynet", "unit": "step", "done": done, "total": 200, "elapsed_s": 2.0}
    return {**fields, "per_second": 40.0, "loss": 0.25, **more}


@pytest.fixture
def talking(tmp_path: Path) -> Talking:
    """The toy project `net` with stages that talk, and nothing built."""
    root = toy_at(tmp_path / "project").root
    (root / "dodo.py").write_text(DODO)
    return Talking(root)
