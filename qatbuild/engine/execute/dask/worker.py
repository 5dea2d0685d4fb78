"""Runs a parcel in a Dask worker: its files in a scratch folder, its stage in a process of its own.

The folder lies below the worker's local directory, which Dask removes with the worker. TensorFlow is imported by the
stage's process only. A stage is interrupted when no client wants it any more, and when the worker is closed; a training
then saves its state, which is sent before it ends.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from distributed import Worker, get_worker
from distributed.core import Status

from qatbuild.engine.code_digest import Code
from qatbuild.engine.digests import Digests
from qatbuild.engine.execute import Executor
from qatbuild.engine.execute.dask.blobs import Blobs, Content, Shelf
from qatbuild.engine.execute.dask.likeness import has_code, unlike_packages
from qatbuild.engine.execute.dask.parcel import TOPIC, End, Message, Outcome, Parcel, moved
from qatbuild.engine.execute.dask.progress import Progress
from qatbuild.engine.execute.dask.unpacking import Unpacker
from qatbuild.engine.execute.dask.watch import Watch
from qatbuild.engine.execute.local import LocalExecutor
from qatbuild.engine.file_cache import FileCache
from qatbuild.engine.store.remote import connect
from qatbuild.engine.store.remote.retrying import Retrying
from qatbuild.exchange.errors import QatbuildError, StageError, system_facts, system_hint
from qatbuild.exchange.files import read_text, remove
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.published import run_path
from qatbuild.exchange.request import Request

_SERVER = ("qatbuild.worker.server",)
_ENDING = {Status.closing, Status.closed, Status.failed}

_logger = logging.getLogger(__name__)


class StageExecutor(Executor, Protocol):
    """An executor that can interrupt one request."""

    def interrupt(self, request: Request) -> bool:
        """Interrupts a request, which may save its progress; returns whether it was running."""


new_executor: Callable[[], StageExecutor] = LocalExecutor
"""Makes the executor of this worker; a preload module of a cluster may replace it."""


def perform(text: str) -> str:
    """Runs a parcel, and returns its outcome, both as JSON.

    If it is done, it also says so to the client: Dask leaves a result with its worker until the client asks for it, and
    would have it made again if the worker died before.
    """
    worker = get_worker()
    parcel = Parcel.from_json(text)
    try:
        blobs = Blobs(_connected(parcel.cache).afresh())
    except QatbuildError as error:  # A package for the scheme is missing here.
        return Outcome(End.FAILED, error=error.to_json()).to_json()
    outcome = _Run(parcel, worker, Path(worker.local_directory) / "qatbuild", blobs).outcome()
    if outcome.end is End.DONE:
        worker.log_event(TOPIC, [*Message(parcel.request.key, outcome=outcome.to_json(), cache=parcel.cache)])
    return outcome.to_json()


class _Run(NamedTuple):
    """One run of a parcel, with files below the folder `here`."""

    parcel: Parcel
    worker: Worker
    here: Path
    blobs: Blobs

    def outcome(self) -> Outcome:
        """Runs the stage. An expected error is part of the outcome, and so is a fault of a disk or of the server."""
        request = self.parcel.request
        root = self.here / f"{request.key[:16]}-{os.urandom(4).hex()}"
        try:
            try:
                return self._ran(root)._replace(worker=self.worker.address, root=str(root))
            except OSError as fault:
                _connected.cache_clear()  # It may be for credentials that are others by now.
                facts = [("worker", self.worker.address), ("stage", request.stage), *system_facts(fault)]
                raise StageError("A Dask worker cannot run a stage.", facts, system_hint(fault)) from fault
        except QatbuildError as error:
            return Outcome(End.FAILED, error=error.to_json(), root=str(root))
        finally:
            remove(root)

    def _ran(self, root: Path) -> Outcome:
        if refusal := unlike_packages(self.parcel.request, self.worker.address):
            return Outcome(End.REFUSED, error=refusal.to_json())
        unpacker = Unpacker(Shelf(self.here / "blobs", self.blobs), self.here / "downloads", _digests(self.here))
        if lacks := unpacker.unpack(self.parcel, root):
            return Outcome(End.LACKS, lacks=tuple(sorted({*lacks})))
        request = moved(self.parcel.request, root)
        code = Code(request.project, _fingerprints(self.here))
        if not has_code(self.parcel, code, _digests(self.here)):
            return Outcome(End.REFUSED, code=code.table(self.parcel.modules))
        return self._stage(request, root, _executor(code.digest(_SERVER)))

    def _stage(self, request: Request, root: Path, executor: StageExecutor) -> Outcome:
        progress = Progress(self.blobs, request.key, request.work)
        if progress.restore():
            _logger.info("%s goes on from where another worker left it", request.stage)
        request.console.touch()
        key, error = str(self.worker.get_current_task()), ""

        def say(message: Message) -> None:
            plain = message._replace(log=message.log.replace(str(root).encode(), b""))
            self.worker.log_event(TOPIC, [*plain])

        interrupt = functools.partial(executor.interrupt, request)
        with Watch(request, say, progress, lambda: _is_wanted(self.worker, key), interrupt) as watch:
            try:
                executor.run(request)
            except KeyboardInterrupt:  # From this machine's terminal.
                watch.interrupted = True
            except QatbuildError as failure:
                error = failure.to_json()
        if watch.interrupted:
            return Outcome(End.INTERRUPTED)
        return self._result(request, error, progress)._replace(run=watch.run)

    def _result(self, request: Request, error: str, progress: Progress) -> Outcome:
        """Sends what the stage left, also the model that a gate refuses."""
        files = {file.relative_to(request.out).as_posix(): file for file in request.out.rglob("*") if file.is_file()}
        left = {name: (file, Content.of(file)) for name, file in files.items()}
        log = request.folder / "log.txt"
        log.touch()
        content = Content.of(log)
        self.blobs.send([*left.values(), (log, content)])
        if not error:
            progress.forget()
        return Outcome(
            End.FAILED if error else End.DONE,
            manifest=_text(Manifest.path_of(request.work, request.stage)),
            files={name: row[1] for name, row in left.items()},
            ran=_text(run_path(request.folder, request.stage)),
            error=error,
            log=content,
            log_name=os.path.relpath(log),
        )


def _is_wanted(worker: Worker, key: str) -> bool:
    """Returns whether a client waits for the running task `key`, and the worker goes on."""
    task = worker.state.tasks.get(key)
    return task is not None and task.state == "executing" and worker.status not in _ENDING


def _text(file: Path) -> str:
    return read_text(file) if file.is_file() else ""


@functools.cache
def _connected(cache: str) -> Retrying:
    """Returns a cache, to which connections stay open: a new one for each stage would cost more than most files."""
    return connect(cache)


@functools.cache
def _digests(here: Path) -> Digests:
    return Digests.load(here / "files")


@functools.cache
def _fingerprints(here: Path) -> FileCache:
    return FileCache(here / "files", "code")


_executors: dict[str, StageExecutor] = {}
_lock = threading.Lock()


def _executor(server: str) -> StageExecutor:
    """Returns the executor whose processes run the code with the digest `server`: a worker outlives an upgrade."""
    with _lock:
        if server not in _executors:
            _executors[server] = new_executor()
        return _executors[server]
