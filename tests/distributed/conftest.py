"""A Dask cluster on ports of loopback: a scheduler and workers as processes of their own, as they run elsewhere."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from qatbuild.engine.build import build
from qatbuild.engine.live import monitor
from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.outcome import Result
from qatbuild.engine.project import Everything, Project
from tests.builds.conftest import REPOSITORY, ToyProject, toy_at
from tests.distributed import toy_worker

LIMIT_S = 180

_AS_DOCUMENTED = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1"}
"""The setting of docs/scale.md: the scheduler gives a worker no stage before it can begin it."""

DODO = """
from qatbuild.plugin import door
DOIT_CONFIG, task_specs = door(__file__)
"""


@dataclass
class Cluster:
    """A scheduler, its workers, and the folder through which files travel."""

    root: Path
    place: socket.socket
    """Has the scheduler's port, which so is no other process's, also while the scheduler is dead."""

    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def at(cls, root: Path) -> Cluster:
        """Makes the folder of a cluster, without processes."""
        root.mkdir()
        os.mkfifo(root / "said")
        place = socket.socket()
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # The scheduler's has it too, and alone listens.
        place.bind(("127.0.0.1", 0))
        return cls(root, place)

    @property
    def scheduler(self) -> str:
        return f"127.0.0.1:{self.place.getsockname()[1]}"

    def start_scheduler(self, **environment: str) -> None:
        """Starts the scheduler, always at the same port, and waits until it listens."""
        options = ["--host", f"tcp://{self.scheduler}", "--no-dashboard", "--no-jupyter"]
        self._started("scheduler", options, b"Scheduler at:", {**_AS_DOCUMENTED, **environment})

    def start_worker(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a worker with one thread, and waits until the scheduler has it."""
        plain = ["--no-nanny", "--no-dashboard", "--nworkers", "1", "--nthreads", "1"]
        folder = ["--local-directory", str(self.root / f"worker-{len(self.processes)}")]
        arguments = [f"tcp://{self.scheduler}", *plain, *folder, *options]
        self._started("worker", arguments, b"Registered to:", environment)
        return self.processes[-1]

    def start_toy_worker(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a worker whose stages are toys."""
        preload = ("--preload", "tests.distributed.toy_worker")
        return self.start_worker(*preload, *options, **{toy_worker.FOLDER: str(self.root), **environment})

    @contextlib.contextmanager
    def held(self, stage: str) -> Iterator[None]:
        """Lets toys of a stage last until this context is left, or they are interrupted."""
        hold = self.root / f"hold-{stage}"
        hold.touch()
        try:
            yield
        finally:
            hold.unlink(missing_ok=True)

    @contextlib.contextmanager
    def listening(self) -> Iterator[Said]:
        """Yields what toys say meanwhile."""
        descriptor = os.open(self.root / "said", os.O_RDWR)
        try:
            yield Said(descriptor)
        finally:
            os.close(descriptor)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.place.close()

    def _started(self, what: str, options: list[str], sign: bytes, more: dict[str, str]) -> None:
        """Starts a process, and waits until it says a line with `sign`."""
        path = {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
        environment = {**os.environ, **path, **more}
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options]
        process = subprocess.Popen(command, cwd=self.root, env=environment, stderr=subprocess.PIPE)
        self.processes.append(process)
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if sign in line:
                threading.Thread(target=_drain, args=(process,), daemon=True).start()
                return
        pytest.fail(f"dask {what} ended:\n{b''.join(lines).decode()}")


def _drain(process: subprocess.Popen[bytes]) -> None:
    """Reads what a process goes on to say, so that it never waits for a reader."""
    assert process.stderr is not None
    with process.stderr:
        for _ in process.stderr:
            pass


@dataclass
class Said:
    """What toys say, line by line."""

    descriptor: int
    lines: list[str] = field(default_factory=list)
    _rest: bytes = b""

    def until(self, start: str) -> str:
        """Reads until a line begins with `start`, and returns the rest of it."""
        while True:
            while self._rest.count(b"\n"):
                line, _, self._rest = self._rest.partition(b"\n")
                self.lines.append(line.decode())
                if self.lines[-1].startswith(start):
                    return self.lines[-1].removeprefix(start).strip()
            if not select.select([self.descriptor], [], [], LIMIT_S)[0]:
                pytest.fail(f"no toy said {start!r}, only {self.lines}")
            self._rest += os.read(self.descriptor, 1 << 12)

    def all(self) -> list[str]:
        """Everything that was said so far."""
        while select.select([self.descriptor], [], [], 0)[0]:
            self._rest += os.read(self.descriptor, 1 << 12)
        self.lines += self._rest.decode().splitlines()
        self._rest = b""
        return self.lines


@dataclass
class DaskProject(ToyProject):
    """A toy project whose stages run on a cluster."""

    cluster: Cluster

    def doit_here(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts doit in the project, with its stages on the cluster."""
        with self.settings():
            return self.started(*arguments)

    def build(self, *labels: str, always: bool = False) -> Result:
        """Builds in this process."""
        with self.settings():
            loaded = Project.prepared(self.root)
        return build(loaded, labels, always=always, say=lambda _: None)

    def home(self, stage: str) -> Path:
        """The folder of a stage of the label net."""
        plan = LoadedProject.load(Project.prepared(self.root), Everything()).plan
        return self.root / "build" / plan.stages[plan.labels["net"][stage]].home

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """Lets builds run on the cluster, with a cache of the project's own."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("QATBUILD_EXECUTOR", f"dask://{self.cluster.scheduler}")
            patch.setenv("QATBUILD_CACHE", f"{self.root}.cache")
            yield


def dask_project_at(root: Path, cluster: Cluster) -> DaskProject:
    """Makes a toy project in a new folder."""
    root.mkdir()
    toy_at(root)
    (root / "dodo.py").write_text(DODO)
    return DaskProject(root, cluster)


@contextlib.contextmanager
def cluster_at(root: Path, **environment: str) -> Iterator[Cluster]:
    """Runs a scheduler without workers."""
    result = Cluster.at(root)
    try:
        result.start_scheduler(**environment)
        yield result
    finally:
        result.stop()


@pytest.fixture(autouse=True)
def no_lines_about_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the lines that a build in this process writes about a stage which takes ten seconds."""
    monkeypatch.setattr(monitor, "_LINE_EVERY_S", float("inf"))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    with cluster_at(tmp_path / "cluster") as result:
        yield result


@pytest.fixture
def project(tmp_path: Path, cluster: Cluster) -> DaskProject:
    """A toy project on the cluster."""
    return dask_project_at(tmp_path / "project", cluster)
