"""Removes the results of stages, and makes stages count as never built, for `doit clean` and `doit forget`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from qatbuild.engine.build_lock import BuildLock
from qatbuild.engine.papers import PAPERS
from qatbuild.engine.plan import Stage
from qatbuild.engine.publish import withdraw
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.engine.store import Store
from qatbuild.exchange.errors import ArtifactError, system_facts, system_hint
from qatbuild.exchange.files import discard
from qatbuild.exchange.published import Record


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
            self._forget(stage)
            folder = self._rebuilder.place(stage).folder
            withdraw(stage.name, folder)
            if stage.name == "evaluate":
                for name in PAPERS:
                    discard(folder / name)

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
                self._store.forget(Record.read(record).request.key)
        discard(record)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._lock.take()
            yield
        except OSError as fault:
            raise ArtifactError("An artifact cannot be removed.", system_facts(fault), system_hint(fault)) from fault
