"""Whatever lies in the place of a file that a build reads or writes: it is healed, or named with what to do.

Each case puts one intruder in the place of one file of a finished build, and builds again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.build import build
from qatbuild.engine.code_digest import Code
from qatbuild.engine.leftovers import leftovers
from qatbuild.engine.project import Project
from qatbuild.engine.store.local import LocalStore
from qatbuild.engine.undeclared_inputs import undeclared_inputs
from qatbuild.exchange.errors import QatbuildError
from qatbuild.exchange.files import remove
from qatbuild.plugin.session import Session
from tests.builds.conftest import ToyProject, toy_at
from tests.builds.toolchain import ToyExecutor
from tests.hints import follows

Intruder = Callable[[Path], object]

LONGEST_S = 60
"""A test that takes longer hangs: a case takes less than a tenth of a second."""


def full_folder(path: Path) -> None:
    path.mkdir()
    (path / "mine.txt").write_text("somebody's")


def link_to_other_bytes(path: Path) -> None:
    other = path.with_name("elsewhere")
    other.write_bytes(b"other bytes")
    path.symlink_to(other)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(path.parent, os.O_RDONLY)  # The path may be longer than a socket's may be.
        made.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


def truncated(path: Path) -> None:
    path.write_bytes(b'{"stage": "convert", "files": {"model.tfl')


INTRUDERS: dict[str, Intruder] = {
    "an empty folder": Path.mkdir,
    "a folder with a file": full_folder,
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to other bytes": link_to_other_bytes,
    "a FIFO": os.mkfifo,
    "a socket": a_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "an empty file": Path.touch,
    "half a file": truncated,
    "a list": lambda path: path.write_text("[]"),
    "an object": lambda path: path.write_text('{"a": 1e999}'),
    "JSON 100,000 deep": lambda path: path.write_text("[" * 100_000 + "]" * 100_000),
    "JSON 900 deep": lambda path: path.write_text('{"files":' * 900 + "1" + "}" * 900),
    "other bytes than UTF-8": lambda path: path.write_bytes(b"\xff\xfe\x00garbage" * 100_000),
}

RESULTS = (
    "build/net/convert.manifest.json",
    "build/net/convert.request.json",
    "build/net/model.tflite",
    "build/net/report.json",
    "build/shared/float-*/float.manifest.json",
    "build/shared/float-*/model.ckpt-1.index",
)
"""Files that a build must have back as they were."""

SHORTCUTS = (
    "build/net/convert.run.json",
    "build/report.html",
    "build/junit.xml",
    "build/.qatbuild/record",
    "build/.qatbuild/pages",
    "build/.qatbuild/failures.json",
    "build/.qatbuild/labels.json",
    "build/.qatbuild/files.db",
    "build/.qatbuild/files.db-wal",
    "build/.qatbuild/sound",
    "build/.qatbuild/code/*.json",
    "build/.store/index/*/*.json",
    "build/.store/blobs/*/*",
    "build/.store/projects/*.json",
    "build/.store/lock",
)
"""Files without which a build succeeds."""

FOLDERS = (
    "build",
    "build/.qatbuild",
    "build/.qatbuild/lock",
    "build/net",
    "build/shared",
    "build/work",
    "build/.store",
    "build/.qatbuild/code",
)
"""Places of folders and of the lock; with something else there, a build may be impossible."""

USERS = ("specs/net.json", "specs/data.bin", "pyproject.toml")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root of a project that has been built, with a store; every test heals what it breaks."""
    root = tmp_path_factory.mktemp("project")
    toy_at(root)
    (root / "pyproject.toml").write_text("[tool.qatbuild]\n")
    code = Code(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Code, "load", lambda *_: code)  # It would be parsed for every case.
        patch.chdir(root)
        assert errors_of_a_build(root) == ""
        yield root


@pytest.fixture
def root(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project, as the working directory; what hangs is ended."""

    def fail(*_: object) -> None:
        raise AssertionError("it hangs")

    monkeypatch.chdir(built)
    former = signal.signal(signal.SIGALRM, fail)
    signal.alarm(LONGEST_S)
    yield built
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


def replaced(path: Path, intruder: str) -> None:
    """Puts an intruder in the place of a file or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    INTRUDERS[intruder](path)


def errors_of_a_build(root: Path) -> str:
    """Asks what the commands ask, and builds; returns the texts of the errors, '' for a success."""
    try:
        session = Session.load(Project.prepared(root), ToyExecutor())
        verdicts = session.forecast(())
        list(leftovers(session.project.build, session.plan, {id_: each.key for id_, each in verdicts.items()}))
        store = session.builder.store
        assert isinstance(store, LocalStore)
        list(store.results())
        list(store.builds())
        for stage in session.plan.stages.values():
            undeclared_inputs(session.builder.rebuilder, stage)
        result = build(Project.prepared(root), executor=ToyExecutor())
    except QatbuildError as error:
        return error.block()
    errors = [row.error for row in result.outcomes.rows] + [error.block() for error in result.errors.values()]
    assert result.ok == (not any(errors))
    return "\n".join(filter(None, errors))


@pytest.mark.parametrize("place", RESULTS)
def test_result_is_made_again(root: Path, place: str) -> None:
    (path,) = root.glob(place)
    former = path.read_bytes()
    for intruder in INTRUDERS:
        replaced(path, intruder)
        assert errors_of_a_build(root) == "", intruder
        assert path.read_bytes() == former, intruder
        assert not path.is_symlink()


@pytest.mark.parametrize("place", SHORTCUTS)
def test_build_succeeds_without_what_only_saves_time(root: Path, place: str) -> None:
    for number, intruder in enumerate(INTRUDERS):
        replaced(next(iter(sorted(root.glob(place))), root / place), intruder)
        ToyProject(root).spec("net", evaluate={"min_top1": number})  # Every file is read or written.
        assert errors_of_a_build(root) == "", intruder
        assert (root / "runs.txt").read_text().split()[-1] == "evaluate"
        assert (root / "build/junit.xml").is_file()
        assert (root / "build/report.html").is_file()


@pytest.mark.parametrize("place", [*FOLDERS, *USERS])
def test_what_makes_a_build_impossible_is_named(root: Path, place: str) -> None:
    for intruder in INTRUDERS:
        if place.startswith("specs/") and "folder" in intruder:  # Specs and data may be in folders.
            continue
        (root / place).rename(root / "aside")
        replaced(root / place, intruder)
        error = errors_of_a_build(root)
        text = " ".join(error.split())
        hinted = follows("something else is in the place of a file or a folder: move or") in text or "hint:" in text
        assert not error or (place in error and (hinted or place in USERS)), f"{intruder}: {error}"
        remove(root / place)
        (root / "aside").rename(root / place)
        assert errors_of_a_build(root) == "", intruder


WRITES = ("open", "write", "replace", "rename", "mkdir", "link")
"""The functions of os by which the engine changes the disk."""


class Disk:
    """A disk that is full, or fails, from one of its changes on; for one call only if `once`."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int, fails_at: int, *, once: bool) -> None:
        self.number = number
        self.fails_at = fails_at
        self.once = once
        self.calls = 0
        for name in WRITES:
            patch.setattr(os, name, self.failing(getattr(os, name), reads=name == "open"))

    def failing(self, function: Callable[..., Any], *, reads: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not (reads and not arguments[1] & (os.O_WRONLY | os.O_RDWR)):
                self.calls += 1
                if self.calls == self.fails_at or (self.calls > self.fails_at and not self.once):
                    raise OSError(self.number, os.strerror(self.number))
            return function(*arguments, **options)

        return call


@pytest.mark.parametrize(("number", "once"), [(errno.ENOSPC, True), (errno.EIO, False)])
def test_disk_that_fails_at_any_write_is_named_and_costs_no_more(root: Path, number: int, *, once: bool) -> None:
    for fails_at in range(1, 400, 5):
        ToyProject(root).spec("net", train={"steps": fails_at, "learning_rate": {"initial": 0.1}})
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, number, fails_at, once=once)
            error = errors_of_a_build(root)
        assert not error or (os.strerror(number) in error and "hint:" in error), error
        assert errors_of_a_build(root) == "", fails_at
        if disk.calls < fails_at:
            return
    raise AssertionError("the disk was never used to the end")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO])
def test_disk_without_locks_is_named_where_something_must_be_built(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    assert errors_of_a_build(root) == ""
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert errors_of_a_build(root) == ""  # Nothing is changed.
    ToyProject(root).spec("net", evaluate={"min_top1": number + 0.5})
    error = errors_of_a_build(root)
    assert "build/.qatbuild/lock" in error
    assert os.strerror(number) in error
    assert "hint:" in error
