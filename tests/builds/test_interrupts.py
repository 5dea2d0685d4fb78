"""Ctrl-C, once or again, at any moment: one line, the exit status of the signal, and what was built is kept."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.execute import local
from tests.builds.conftest import DODO, ToyProject

TWICE = """
import signal
from qatbuild.engine.fast_path import FastPath
from tests.builds.toolchain import ToyExecutor

run, remember = ToyExecutor.run, FastPath.remember

def interrupted(self, request):
    if request.stage == "float":
        signal.raise_signal(signal.SIGINT)
    run(self, request)

def interrupted_again(self, *arguments):
    signal.raise_signal(signal.SIGINT)
    remember(self, *arguments)
    print("remembered")

ToyExecutor.run, FastPath.remember = interrupted, interrupted_again
"""


@pytest.mark.parametrize("arguments", [(), ("-n", "2")])
def test_second_ctrl_c_does_not_cut_short_what_the_first_one_ends(toy: ToyProject, arguments: tuple[str, ...]) -> None:
    (toy.root / "dodo.py").write_text(TWICE + DODO)
    done = toy.doit(*arguments)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr.strip() == "interrupted; run doit again to go on"
    assert done.stdout.rstrip().endswith("remembered")
    (toy.root / "dodo.py").write_text(DODO)
    toy.runs()
    assert "dataset" not in toy.built()


def test_ctrl_c_while_the_dodo_file_is_imported_is_one_line(toy: ToyProject) -> None:
    (toy.root / "dodo.py").write_text("import qatbuild.plugin\nraise KeyboardInterrupt")
    done = toy.doit()
    assert done.returncode == -signal.SIGINT  # 130 for a shell
    assert done.stderr.strip() == "interrupted"


def test_server_inherits_a_blocked_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []

    class Process:
        """A server that has ended."""

        stdout: tuple[bytes, ...] = ()

        def __init__(self, *_: Any, **__: Any) -> None:
            masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))

        def wait(self) -> int:
            return 0

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Process)
    local._Server()  # noqa: SLF001  What it inherits shows nowhere else.
    assert signal.SIGINT in masks[0]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("command", ["", "plan", "list"])
def test_closed_streams_are_not_taken_by_other_files(toy: ToyProject, command: str) -> None:
    toy.built()
    toy.spec("net", evaluate={"min_top1": 3})
    lock = toy.root / "build/.qatbuild/lock"

    def close() -> None:
        for number in range(3):
            os.close(number)

    done = toy.doit(*command.split(), stdin=subprocess.DEVNULL, preexec_fn=close)
    assert done.returncode == 3  # Nothing could be said.
    assert "\n" not in (lock.read_text() if lock.exists() else "")
    assert Path(toy.root / "build/net/report.json").is_file()
