"""Brings results from the project's store to the stages of a build, and new results into it."""

from __future__ import annotations

import contextlib
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from qatbuild.engine.history.origin import Origin
from qatbuild.engine.plan import Stage
from qatbuild.engine.project import Project
from qatbuild.engine.store import Store
from qatbuild.exchange.errors import SpecError
from qatbuild.exchange.files import write_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.processor import processor
from qatbuild.exchange.published import ran_on
from qatbuild.exchange.request import Request
from qatbuild.schema.label import SHARED

if TYPE_CHECKING:
    from qatbuild.engine.store.local import LocalStore


class Supply:
    """The store of one build, which is opened for the first stale stage."""

    def __init__(self, project: Project) -> None:
        """Makes the supply of a project's builds; nothing is opened yet."""
        self._project = project

    @cached_property
    def store(self) -> Store | None:
        """The store of kept results, None if the project has neither a store nor a cache.

        A cache with a URL that leads nowhere is said on stderr, and not used.
        """
        project = self._project
        local = local_store(project)
        if project.cache is None:
            return local
        from qatbuild.engine.store.remote import Limits, connect  # noqa: PLC0415  Nothing is paid without a cache.
        from qatbuild.engine.store.shared import SharedStore  # noqa: PLC0415

        partial = project.state.partial
        try:
            remote = connect(project.cache.url, Limits(timeout_s=project.cache.timeout_s))
        except SpecError as error:
            sys.stderr.write(f"{error.block()}\n")
            return local
        # Without a store of its own, a project needs one for what is under way.
        local = local or _local_store(project, partial / "store")
        return SharedStore(local, remote, partial, is_written=project.cache.is_written)

    def has(self, request: Request) -> bool:
        """Returns whether the result of a request is kept."""
        return self.store is not None and self.store.text(request.key) is not None

    def restore(self, request: Request, *, may_stay: bool) -> bool:
        """Fetches the result of a request, to be published; returns whether the store had it.

        With `may_stay` its artifacts stay where they are, if that is on another machine only.
        """
        manifest = None
        if self.store is not None:
            with contextlib.suppress(OSError):  # The stage then runs, and reports a folder that cannot be written.
                manifest = self.store.fetch(request.key, request.out, may_stay=may_stay)
        if manifest is not None:
            write_text(Manifest.path_of(request.work, request.stage), manifest.to_json())
        return manifest is not None

    def processor(self, request: Request, *, ran: bool) -> str:
        """Returns the name of the processor that made a result that `ran` or was restored; '' if unknown."""
        if ran:
            return ran_on(request.folder, request) or processor()
        entry = self.store.entry(request.key) if self.store is not None else None
        return "" if entry is None else entry.writer.processor

    def keep(self, stage: Stage, request: Request, manifest: Manifest, origin: Origin) -> None:
        """Keeps a published result. A fault is only said: the stage is built, and a later restore is lost."""
        if self.store is None:
            return
        try:
            self.store.keep(request, manifest, origin)
        except OSError as fault:
            sys.stderr.write(f"{stage.id} cannot be kept in the store: {fault}\n")

    def finish(self) -> None:
        """Waits for uploads, at the end of a build."""
        store: Store | None = self.__dict__.get("store")
        if store is not None:  # A build with nothing stale has not opened it.
            store.finish()


def local_store(project: Project) -> LocalStore | None:
    """Returns the project's store on this machine; None if it has none of its own."""
    return None if project.store is None else _local_store(project, project.store)


def _local_store(project: Project, folder: Path) -> LocalStore:
    from qatbuild.engine.store.local import LocalStore  # noqa: PLC0415  A build with nothing stale opens none.

    return LocalStore(folder, project.root, project.build)


def may_stay(stage: Stage) -> bool:
    """Returns whether only other stages need a stage's artifacts: a dataset, the checkpoints of a training."""
    return stage.home.startswith(f"{SHARED}/")
