"""Preloaded by Dask workers of a test: their stages are toys, which say on a FIFO that they begin, and can be held.

A held stage saves the state of a training, and waits until its file is removed or it is interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from functools import partial
from pathlib import Path

from qatbuild.engine.code_digest import Code
from qatbuild.engine.execute.dask import likeness, worker
from qatbuild.engine.execute.dask.progress import Progress
from qatbuild.engine.rebuild import toolchain
from qatbuild.engine.store.remote import connect
from qatbuild.exchange import saved_training
from qatbuild.exchange.activity import Warned
from qatbuild.exchange.errors import StageError
from qatbuild.exchange.files import file_sha256, write_text
from qatbuild.exchange.request import Request
from tests.builds.toolchain import ToyExecutor

FOLDER = "QATBUILD_TEST_CLUSTER"
"""The environment variable with the folder of the test's cluster: in it the FIFO `said`, and `hold-STAGE`."""

VERSION = "QATBUILD_TEST_VERSION"
"""The variable with the version of NumPy that a worker seems to have."""

PACKAGE = "QATBUILD_TEST_PACKAGE"
"""The variable with the folder of the qatbuild whose code a worker seems to run."""

CACHE = "QATBUILD_TEST_CACHE"
"""The variable with the cache that a worker reaches instead of the one that it is sent."""


class HeldExecutor(ToyExecutor):
    """Runs toys, some of which last until they are interrupted."""

    def __init__(self) -> None:
        self._interrupts: dict[str, threading.Event] = {}

    def interrupt(self, request: Request) -> bool:
        if request.key in self._interrupts:
            self._interrupts[request.key].set()
        return request.key in self._interrupts

    def run(self, request: Request) -> None:
        state = saved_training.folder_of(request.work) / "model.ckpt-7.index"
        how = "resumed" if state.is_file() else "began"
        say(f"{how} {request.stage} {os.getpid()}")
        folder = Path(os.environ[FOLDER])
        if (orders := folder / "broken.txt").exists():
            write_text(request.project / orders.name, orders.read_text())
        write_text(request.folder / "log.txt", f"== {request.stage} toy\nreads {request.project}/specs\n")
        request.console.write_text(Warned(f"{request.stage} is half done").to_line())
        if (says := folder / f"says-{request.stage}").exists():
            write_text(request.console, request.console.read_text() + says.read_text())
        write_text(
            request.folder / f"{request.stage}.run.json",
            json.dumps({"toy": os.getpid(), "processor": "a toy's", "key": request.key}),
        )
        if (hold := folder / f"hold-{request.stage}").exists():
            self._hold(request, hold, state)
        super().run(request)

    def _hold(self, request: Request, hold: Path, state: Path) -> None:
        write_text(state, "trained for 7 steps")
        digests = {state.name: file_sha256(state)}
        write_text(state.parent / saved_training.STATE, json.dumps({"files": digests}))
        interrupted = self._interrupts[request.key] = threading.Event()
        while hold.exists():
            if interrupted.wait(0.05):
                say(f"interrupted {request.stage} {os.getpid()}")
                raise StageError("The toy was interrupted.", [("signal", signal.SIGTERM)])


def say(line: str) -> None:
    """Writes a line to the FIFO, which the test reads."""
    with Path(os.environ[FOLDER], "said").open("w") as said:
        said.write(f"{line}\n")


class SaidProgress(Progress):
    """Says when a state of a training has been sent."""

    def save(self) -> bool:
        is_new = super().save()
        if is_new:
            say("saved")
        return is_new


worker.new_executor = HeldExecutor
if version := os.environ.get(VERSION):
    setattr(likeness, "toolchain", lambda *wanted: {**toolchain(*wanted), "numpy": version})  # noqa: B010
if package := os.environ.get(PACKAGE):
    setattr(worker, "Code", partial(Code, package=Path(package)))  # noqa: B010
if cache := os.environ.get(CACHE):
    setattr(worker, "connect", lambda _: connect(cache))  # noqa: B010
setattr(worker, "Progress", SaidProgress)  # noqa: B010  It is imported there.
