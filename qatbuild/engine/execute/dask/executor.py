"""Runs requests in the workers of a Dask cluster. Files travel as blobs of a cache that all of them reach.

A worker leaves what LocalExecutor leaves: artifacts, manifest, run.json and log, or the same error. A stage whose
worker or scheduler died is sent again, and a training then goes on from its last saved state.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.cache import Cache
from qatbuild.engine.code_digest import Code
from qatbuild.engine.digests import Digests
from qatbuild.engine.execute.dask.attempt import INTERRUPTION_S, Attempts, Task, Waiting
from qatbuild.engine.execute.dask.blobs import Blobs
from qatbuild.engine.execute.dask.cluster import Cluster
from qatbuild.engine.execute.dask.dispatch import Dispatcher
from qatbuild.engine.execute.dask.packing import Packer
from qatbuild.engine.execute.dask.parcel import End, Outcome
from qatbuild.engine.execute.dask.relay import Listener, Relay
from qatbuild.engine.store.remote import Limits, RemoteError, connect
from qatbuild.exchange.errors import QatbuildError, SpecError, StageError, from_json
from qatbuild.exchange.files import make_folder, read_bytes, remove, write_text
from qatbuild.exchange.manifest import Manifest, is_inside
from qatbuild.exchange.published import run_path
from qatbuild.exchange.request import Request

BLOBS = "blobs"
"""The folder through which files travel to workers of this machine."""

_NO_CACHE = '[tool.qatbuild] cache = "URL or folder" that this machine and all workers can write to'
_TRAVELLING = "name a cache that this machine and all workers reach: [tool.qatbuild] cache"


class Setup(NamedTuple):
    """What an executor needs to know of a project.

    Files travel through `cache`; a cluster of this machine has its own below `folder`. `takes` are amounts of pools by
    stage, `threads` those of a stage, `at_once` the stages that fit on this machine.
    """

    cache: Cache | None
    folder: Path
    takes: Mapping[str, Mapping[str, float]]
    threads: int
    at_once: int
    code: Code
    digests: Digests


class DaskExecutor:
    """Runs requests from any number of threads at once. It connects with the first request."""

    def __init__(self, address: str, setup: Setup) -> None:
        """Makes an executor for the scheduler at `address`, such as tcp://host:8786; '' for a cluster of its own."""
        self._setup = setup
        self._relay = Relay()
        self._cluster = Cluster(address, setup.folder / "workers", setup.at_once, self._relay.hear)
        self._changed = threading.Condition()
        self._waiting: list[Waiting] = []
        self._stopped = False

    def places(self) -> int:
        """Returns how many stages to send at once, as many as keep the cluster busy; 1 if it cannot be reached."""
        try:
            return self._cluster.places()
        except QatbuildError:  # The stage reports it.
            return 1

    def run(self, request: Request) -> None:
        """Runs a request on a worker. Raises the stage's error; StageError if no worker can run it."""
        try:
            with self._relay.listening(request) as listener, self._noted() as waiting:
                task = Task(self._packer.pack(request), listener, waiting)
                outcome = self._dispatcher.performed(task)
                if outcome.run:
                    listener.wait_for_end(outcome.run)
                self._leave(request, outcome, listener)
        except RemoteError as fault:
            facts = [("stage", request.stage), ("cache", self._blobs.remote.place), ("reason", fault)]
            raise StageError("The files of a stage cannot travel to or from a worker.", facts, _TRAVELLING) from fault

    def stop(self) -> None:
        """Interrupts the running stages, waits for them, and disconnects."""
        with self._changed:
            self._stopped = True
            for waiting in self._waiting:
                waiting.stop()
            self._changed.wait_for(lambda: not self._waiting, INTERRUPTION_S)
        self._cluster.close()

    @contextlib.contextmanager
    def _noted(self) -> Iterator[Waiting]:
        """Lets `stop` end the waiting of this thread. KeyboardInterrupt if it has been called."""
        waiting = Waiting()
        with self._changed:
            if self._stopped:
                raise KeyboardInterrupt
            self._waiting.append(waiting)
        try:
            yield waiting
        finally:
            with self._changed:
                self._waiting.remove(waiting)
                self._changed.notify_all()

    @cached_property
    def _blobs(self) -> Blobs:
        """The files on their way. SpecError without a cache that can be written."""
        cache = self._setup.cache
        if cache is None or not cache.is_written:
            facts = [("cache", "none" if cache is None else f"{cache.url} is only read (cache_mode)")]
            raise SpecError("The workers of a Dask cluster get their files from a cache.", facts, _NO_CACHE)
        atexit.register(self._tidy)
        return Blobs(connect(cache.url, Limits(timeout_s=cache.timeout_s)))

    @cached_property
    def _dispatcher(self) -> Dispatcher:
        attempts = Attempts(self._cluster, self._setup.takes, self._setup.threads)
        return Dispatcher(attempts, lambda: self._cluster.workers().threads, self._packer, self._setup.code)

    def _tidy(self) -> None:
        """Removes the files of a cluster of this machine, unless one is the saved state of a training."""
        if self._setup.cache is None or self._setup.cache.url != str(self._setup.folder / BLOBS):
            return
        with contextlib.suppress(OSError):
            if not any(self._blobs.remote.entries()):
                remove(self._setup.folder)

    @cached_property
    def _packer(self) -> Packer:
        return Packer(self._setup.code, self._setup.digests, self._blobs)

    def _leave(self, request: Request, outcome: Outcome, listener: Listener) -> None:
        """Puts the outcome where the stage itself would have left it, and raises its error."""
        if odd := [name for name in outcome.files if not is_inside(name)]:
            raise StageError("A worker left a file outside of its folder.", [("file", odd[0])])
        remove(request.out)
        make_folder(request.out)
        lost = self._blobs.fetch((request.out / name, content) for name, content in outcome.files.items())
        if outcome.log is not None:
            log = request.work / "log"
            lost += self._blobs.fetch([(log, outcome.log)])
            listener.end(outcome.run, read_bytes(log), outcome.root)
            remove(log)
        if lost or outcome.end is End.LACKS:
            place, blob = self._blobs.remote.place, [*lost, *outcome.lacks][0]
            facts = [("stage", request.stage), ("cache", place), ("blob", blob)]
            raise StageError("A blob in the cache is missing or damaged.", facts, _TRAVELLING)
        if outcome.ran:
            write_text(run_path(request.folder, request.stage), outcome.ran)
        if outcome.error:
            raise _as_here(from_json(outcome.error), request, outcome)
        write_text(Manifest.path_of(request.work, request.stage), outcome.manifest)


def _as_here(error: QatbuildError, request: Request, outcome: Outcome) -> QatbuildError:
    """Returns a worker's error with the paths of this machine."""
    log = os.path.relpath(request.folder / "log.txt")

    def here(text: str) -> str:
        named = text.replace(outcome.log_name, log) if outcome.log_name else text
        return named.replace(outcome.root, "") if outcome.root else named

    facts = [(label, here(str(value))) for label, value in error.facts]
    return type(error)(here(error.message), facts, here(error.hint))
