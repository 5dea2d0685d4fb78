"""Removes the results of stages, and makes stages count as never built, for `doit clean` and `doit forget`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from qatbuild.engine.build_lock import BuildLock
from qatbuild.engine.plan import Stage
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.engine.store import Store
from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request


class Cleaner:
    """Cleans one build folder. A running build is waited for; the lock is then held until the process ends."""

    def __init__(self, rebuilder: Rebuilder, store: Store | None, lock: Path) -> None:
        """Makes a cleaner for the stages of a rebuilder and their results in a store."""
        self._rebuilder = rebuilder
        self._store = store
        self._lock = BuildLock(lock)

    def clean(self, stage: Stage) -> None:
        """Removes the stage's artifacts, also from the store. ArtifactError if a file cannot be removed."""
        with self._alone():
            folder, path, _ = self._rebuilder.place(stage)
            self._forget(stage)
            try:
                names = list(Manifest.read(path).files)
            except ArtifactError:
                names = []
            for name in [*names, path.name, f"{stage.name}.run.json"]:
                (folder / name).unlink(missing_ok=True)

    def forget(self, stage: Stage) -> None:
        """Makes the stage count as never built, also in the store; its artifacts stay until it is built again.

        ArtifactError if a file cannot be removed.
        """
        with self._alone():
            self._forget(stage)

    def _forget(self, stage: Stage) -> None:
        record = self._rebuilder.place(stage).record
        with contextlib.suppress(OSError, ValueError):
            if self._store is not None:
                self._store.forget(Request.from_json(record.read_text(encoding="utf-8")).key)
        record.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._lock.take()
            yield
        except OSError as fault:
            facts = [("file", fault.filename), ("reason", fault.strerror)]
            raise ArtifactError("An artifact cannot be removed.", facts) from fault
