"""Files and folders without rights, locks that the disk does not have, and output that cannot be written.

What can be answered is answered; else there is one block that names the file, and a non-zero exit status.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builds.conftest import ToyProject
from tests.hints import follows

COMMANDS = ("plan", "list", "explain", "gc", "check", "check --audit", "list --status", "graph")


def as_others() -> None:
    """Gives a process of root's the rights of its files' modes only, before it starts another program."""
    if os.geteuid() == 0:
        drop, override, search = 24, 1, 2  # PR_CAPBSET_DROP; CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        for capability in (override, search):
            assert ctypes.CDLL(None).prctl(drop, capability, 0, 0, 0) == 0


def doit(toy: ToyProject, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs doit, whose files' modes count, and which must not print a traceback."""
    done = toy.doit(*arguments, preexec_fn=as_others, **options)
    assert "Traceback" not in f"{done.stdout}{done.stderr}", done.stderr
    assert "Exception ignored" not in f"{done.stderr}"
    return done


@pytest.mark.parametrize("place", ["data/some.bin", "data"])
def test_data_that_cannot_be_read_are_named_by_every_command(toy: ToyProject, place: str) -> None:
    data = toy.root / "data"
    data.mkdir()
    (data / "some.bin").write_text("pixels")
    toy.spec("net", dataset={"name": "cifar10", "path": "../data"})
    toy.spec("other")
    path = toy.root / place
    path.chmod(0)
    try:
        done = doit(toy, "run", "-c")
        assert done.returncode != 0
        assert "An input cannot be read." in done.stdout
        assert place in done.stdout
        assert f"hint: {follows('change its permissions, or those of its folder')}" in done.stdout
        assert "8 built" in done.stdout  # the other model
        for command in COMMANDS:
            said = doit(toy, *command.split())
            assert said.returncode == 0, (command, said.stdout, said.stderr)
        assert place in doit(toy, "plan").stdout
    finally:
        path.chmod(0o700)
    assert "8 built, 8 up to date" in doit(toy).stdout


def test_module_that_cannot_be_read_is_named_by_every_command(toy: ToyProject) -> None:
    (toy.root / "net.py").write_text("import layers\n\n\ndef network(inputs, training):\n    return inputs\n")
    (toy.root / "layers.py").write_text("def conv():\n    pass\n")
    toy.spec("net", model={"call": "net:network"})
    toy.built()
    (toy.root / "layers.py").chmod(0)
    done = doit(toy)
    assert done.returncode != 0
    assert "A module cannot be read." in done.stdout
    assert "layers.py" in done.stdout
    assert "hint: change its permissions" in done.stdout
    for command in COMMANDS:
        doit(toy, *command.split())
    (toy.root / "layers.py").chmod(0o644)
    assert doit(toy).returncode == 0


@pytest.fixture
def read_only(toy: ToyProject) -> Iterator[ToyProject]:
    """A finished project in which nothing can be written."""
    toy.built()
    toy.built()
    paths = [toy.root, *toy.root.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    yield toy
    for path, mode in modes.items():
        path.chmod(mode)


def test_read_only_project_that_is_up_to_date_is_a_success(read_only: ToyProject) -> None:
    for arguments in ((), ("net:convert",), ("-n", "2")):
        done = doit(read_only, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "up to date" in done.stdout
    for command in COMMANDS:
        assert doit(read_only, *command.split()).returncode == 0, command
    (read_only.root / "specs/net.json").chmod(0o644)
    read_only.spec("net", train={"steps": 3, "learning_rate": {"initial": 0.1}})
    for command in ("gc --age 0", "clean"):
        done = doit(read_only, *command.split())
        assert done.returncode != 0
        assert "build/.qatbuild/lock" in done.stdout + done.stderr
        assert "hint: change its permissions" in done.stdout + done.stderr


def test_read_only_project_that_is_stale_is_one_block(read_only: ToyProject) -> None:
    (read_only.root / "specs/net.json").chmod(0o644)
    read_only.spec("net", evaluate={"min_top1": 3})
    done = doit(read_only)
    assert done.returncode == 1
    assert done.stdout.count("FAILED") == 1
    assert "A page of all models cannot be written.\n  file    " in done.stdout
    assert "build/.qatbuild/lock" in done.stdout
    assert "hint: change its permissions" in done.stdout


@pytest.mark.parametrize("command", ["", "plan", "list", "explain", "check"])
def test_output_that_cannot_be_written_is_a_failure(toy: ToyProject, command: str) -> None:
    toy.built()
    with Path("/dev/full").open("w") as full:
        done = doit(toy, *command.split(), stdout=full)
        assert done.returncode == 3
        assert done.stderr.startswith("ERROR: The output cannot be written.\n  reason  No space left on device")
    done = toy.doit(*command.split(), stdout=None, preexec_fn=lambda: os.close(1))
    assert done.returncode == 3
    assert done.stderr.startswith("ERROR: The output cannot be written.\n  reason  Bad file descriptor")
