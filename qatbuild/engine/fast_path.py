"""Finds the specs that a build need not load: they were up to date, and nothing they depend on has changed.

The evidence is the record of the last build (up_to_date_record.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qatbuild.engine.project import Everything, Only, Project, Selection
from qatbuild.engine.up_to_date_record import (
    ENGINE,
    FOLDERS,
    GLOBAL,
    PACKAGES,
    PAGES,
    SOURCE,
    STAGE,
    Record,
    Recorded,
)
from qatbuild.engine.walk import tree
from qatbuild.exchange.errors import SpecError
from qatbuild.exchange.file_state import identity
from qatbuild.schema.label import spec_of

if TYPE_CHECKING:
    from qatbuild.engine.loaded import LoadedProject
    from qatbuild.engine.plan import Stage
    from qatbuild.engine.rebuild import Rebuilder
    from qatbuild.report.pages import Page

_PACKAGE = str(Path(__file__).parent.parent)
_FORMAT = 7


class Verified(NamedTuple):
    """An up-to-date stage: the earliest time at which its files were checked, and the names of its artifacts."""

    since_ns: int
    artifacts: tuple[str, ...]


class FastPath:
    """Reads the record before a build, and writes it afterwards.

    `selection` are the specs to load: everything without a usable record. `up_to_date` are the requested names that
    need not be loaded.
    """

    def __init__(self, project: Project) -> None:
        """Begins a build; files that change from now on are noticed."""
        self.project = project
        self.began_ns = time.time_ns()
        self.selection: Selection = Everything()
        self.up_to_date: list[str] = []
        self._fresh: list[str] | None = None
        self._current: set[str] = set()
        self._present: list[str] = []
        self._folders_changed = False
        self._record: Record | None = None
        self._written_groups: set[str] = set()
        self._pages: tuple[str, int] | None = None
        self._pages_differ: bool | None = None
        self._written: Sequence[Page] = ()
        self.gone: list[str] = []
        """The specs that are not there any more."""

    @property
    def nothing_to_load(self) -> bool:
        """Whether everything requested is up to date according to the record."""
        return self.selection == Only(())

    def check(self, names: Sequence[str]) -> None:
        """Compares the project's files with the record and chooses `selection` and `up_to_date`.

        `names` are labels, specs, or either with :STAGE; without names, the project's default.
        """
        record = Record.load(self.project.state.record, environment(self.project))
        if record is None:
            return
        differing = record.differing()
        self._pages_differ = PAGES in differing
        differing.discard(PAGES)
        if differing & (GLOBAL - {FOLDERS}):
            return
        wanted = names or self.project.default
        if not differing and not record.others and wanted is None:
            self._record, self.selection, self._present = record, Only(()), record.specs if self._pages_differ else []
            return
        self._folders_changed = FOLDERS in differing
        if self._folders_changed:
            present = [name for name, _ in self.project.files()]
            if self.project.folders_without_specs():
                return  # Loading everything says which.
            self.gone = sorted({*record.specs, *record.others} - set(present))
        else:
            present = [*record.specs, *record.others]
        specs = {name: spec_of(name) for name in (present if wanted is None else wanted)}
        if len(present) != len(set(present)) or not set(specs.values()) <= set(present):
            return  # Unknown and duplicate names are reported by loading everything.
        self._record = record
        self._present = present
        current = self._current = set(record.specs).intersection(present) - record.resting(differing)
        # A label with a stage is loaded: only its stages can say whether that part is up to date.
        self._fresh = [name for name, spec in specs.items() if name == spec and spec in current]
        stale = dict.fromkeys(spec for name, spec in specs.items() if name != spec or spec not in current)
        self.selection = Only(tuple(stale))
        self.up_to_date = [name for name in self._fresh if names and name not in stale]

    def count_stages(self, loaded: Iterable[str] = ()) -> int:
        """Returns the number of requested stages that are up to date, without the ids in `loaded`."""
        if self._record is None:
            return 0
        return self._record.count if self._fresh is None else self._record.count_stages(self._fresh, loaded)

    def routes(self) -> dict[str, list[str]]:
        """Returns label -> routes of the recorded specs that were not loaded."""
        if self._record is None:
            return {}
        left_out = {*self._selected, *self.gone}
        return self._record.routes(name for name in self._record.specs if name not in left_out)

    def unknown_specs(self) -> set[str]:
        """Returns the specs that are neither recorded nor loaded, because a build of them failed."""
        if self._record is None:
            return set()
        return set(self._present) - set(self._record.specs) - self._selected

    def unchanged_specs(self) -> set[str]:
        """Returns the specs whose reports have not changed since the pages were written."""
        if self._record is None or self._record.pages != _pages_state(self.project):
            return set()
        return self._current - self._selected - set(self._record.untold)

    @property
    def _selected(self) -> set[str]:
        return set(self.selection.names) if isinstance(self.selection, Only) else set()

    def seed_code_digests(self, rebuilder: Rebuilder) -> None:
        """Gives the recorded digests of qatbuild's own code to the rebuilder, which then need not parse it."""
        if self._record is not None:
            rebuilder.code.believe(self._record.digests(), self.began_ns)

    def pages_differ(self, *, is_shown: bool) -> bool:
        """Returns whether the pages may not be as they should be: edited, removed, or with a spec that is gone.

        `is_shown`: whether there should be pages, if the record does not say.
        """
        return bool(self.gone) or (is_shown if self._pages_differ is None else self._pages_differ)

    def pages_written(self, since_ns: int, written: Sequence[Page]) -> None:
        """Records that the pages show the reports as they were at `since_ns` or later."""
        self._pages = _pages_state(self.project), since_ns
        self._written = written

    def remember_pages(self) -> None:
        """Writes the record of a build that loaded no spec, if pages were put back or specs are gone."""
        if self._record is not None and (self._pages or self._folders_changed):
            if self._folders_changed:
                self._record.leave(set(self._record.specs) - self._current)
            self._save(self._record)

    def remember(self, loaded: LoadedProject, rebuilder: Rebuilder, verified: Mapping[str, Verified]) -> None:
        """Writes the record: loaded specs whose stages are all verified, and unloaded specs as they were recorded.

        `verified` is by stage id.
        """
        if self.nothing_to_load:
            return
        record = self._record or Record(environment(self.project))
        record.leave(set(record.specs) - self._current)
        labels = _by_spec(loaded.plan.labels)
        latest_ns = sys.maxsize
        if self._pages is None:
            record.untold = sorted({*record.untold, *labels})
        else:  # A report that changed after the pages were written must not be recorded as shown on them.
            (record.pages, latest_ns), record.untold = self._pages, []
        routes = loaded.plan.routes
        for name, labels_of_spec in labels.items():
            ids = dict.fromkeys(id_ for label in labels_of_spec for id_ in loaded.plan.labels[label].values())
            if all(id_ in verified for id_ in ids):
                with contextlib.suppress(OSError, ValueError):  # A file is being changed at this moment.
                    files = (self._short(os.path.normpath(file)) for file in loaded.documents[name])
                    groups = [self._put(record, "file ", [file]) for file in files]
                    for id_ in ids:
                        stage = loaded.plan.stages[id_]
                        groups += self._stage_groups(record, rebuilder, stage, verified[id_], latest_ns)
                    by_label = {label: routes[label] for label in labels_of_spec}
                    record.enter(name, dict.fromkeys(groups), Recorded(loaded.descriptions[name], by_label))
        record.keep(rebuilder.code.of_package())
        missing = (path for path, exists in rebuilder.code.looked.items() if not exists)
        record.absent(map(self._short, missing))
        if self._record is None:
            _, engine = tree(_PACKAGE, ["__pycache__"])
            record.put(ENGINE, engine, self.began_ns)
            record.put(PACKAGES, _site(), self.began_ns)
        self._save(record)

    def _save(self, record: Record) -> None:
        if self._written:
            now_ns = time.time_ns()
            files = [self._short(page.file) for page in self._written]
            record.put(PAGES, files, now_ns if all(page.is_intact for page in self._written) else 0)
        if self._record is None or self._folders_changed:
            record.put(FOLDERS, map(self._short, self.project.folders()), self.began_ns)
            try:
                self._present = [name for name, _ in self.project.files()]
            except SpecError:  # A folder is being changed at this moment.
                return
        record.save(self.project.state.record, self._present)

    def _stage_groups(
        self, record: Record, rebuilder: Rebuilder, stage: Stage, verified: Verified, latest_ns: int
    ) -> Iterator[str]:
        """Puts the groups of files that a stage depends on into the record, and yields their names."""
        from qatbuild.engine.source import source_paths  # noqa: PLC0415  A build with nothing to do hashes no file.

        folder, manifest, record_file = rebuilder.place(stage)
        files = [str(manifest), str(record_file), *(f"{folder}/{artifact}" for artifact in verified.artifacts)]
        group = f"{STAGE}{stage.id}"
        record.put(group, map(self._short, files), min(verified.since_ns, latest_ns))
        yield group
        for source in stage.sources.values():
            yield self._put(record, SOURCE, source_paths(self._short(source)))
        for file in rebuilder.code.files(stage.modules):
            if not file.startswith(_PACKAGE + os.sep):
                yield self._put(record, "file ", [self._short(file)])

    def _put(self, record: Record, kind: str, files: list[str]) -> str:
        group = f"{kind}{files[0]}"
        if group not in self._written_groups:
            self._written_groups.add(group)
            record.put(group, files, self.began_ns)
        return group

    def _short(self, path: str | Path) -> str:
        """Returns a path relative to the project, which is the working directory, if it lies there."""
        return str(path).removeprefix(f"{self.project.root}{os.sep}")


def _pages_state(project: Project) -> str:
    """Returns the state of the file of report/pages.py; '' if it does not exist."""
    try:
        return identity(project.state.pages.stat())
    except OSError:
        return ""


def _by_spec(labels: Iterable[str]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for label in labels:
        result.setdefault(spec_of(label), []).append(label)
    return result


def _site() -> list[str]:
    """Returns the folders of installed packages: installing or removing a package changes them."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def environment(project: Project) -> str:
    """Returns everything that affects all specs and is not in a recorded file."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    return json.dumps([_FORMAT, repr(project), sys.version, _site(), os.environ.get("PYTHONPATH"), devices, _PACKAGE])
