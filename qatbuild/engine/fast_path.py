"""Which specs a run need not even load, for they were up to date and nothing of them has changed (see record.py)."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qatbuild.engine.file_cache import identity
from qatbuild.engine.up_to_date_record import ENGINE, FOLDERS, GLOBAL, PACKAGES, STAGE, Record
from qatbuild.engine.walk import tree
from qatbuild.exchange.request import Request

if TYPE_CHECKING:
    from qatbuild.engine.project import Project

_PACKAGE = str(Path(__file__).parent.parent)
_FORMAT = 5


class Shortcut:
    """What a run knows before it loads anything.

    `load` are the names of the specs to load, None for all: without a record that can be used. `named` are those that
    were asked for by name and are up to date.
    """

    def __init__(self, project: Project) -> None:
        """Nothing is known yet; what is looked at from now on counts."""
        self.project = project
        self.began_ns = time.time_ns()
        self.load: list[str] | None = None
        self.named: list[str] = []
        self._fresh: list[str] | None = None
        self._current: set[str] = set()
        self._present: list[str] = []
        self._moved = False
        self._path = project.memory / "record"
        self._record: Record | None = None
        self._done: set[str] = set()
        self._told: tuple[str, int] | None = None

    def stages(self, loaded: Iterable[str] = ()) -> int:
        """How many stages were asked for and are up to date, besides those that were loaded."""
        if self._record is None or self.load is None:
            return 0
        return self._record.count if self._fresh is None else self._record.count_stages(self._fresh, loaded)

    def routes(self) -> dict[str, list[str]]:
        """The routes by label of the specs that are not to be loaded."""
        if self._record is None or self.load is None:
            return {}
        return self._record.routes(name for name in self._record.specs if name not in self.load)

    def unread(self) -> set[str]:
        """The specs of which nothing is known, neither from the record nor by loading them: something failed there."""
        if self._record is None or self.load is None:
            return set()
        return set(self._present) - set(self._record.specs) - set(self.load)

    def settled(self) -> set[str]:
        """The specs whose reports are as the pages told them: they need not be looked at for these."""
        if self._record is None or self.load is None or self._record.pages != _stamp(self.project):
            return set()
        return self._current.difference(self.load, self._record.untold)

    def told(self, since_ns: int) -> None:
        """The pages were written anew, from files as they were at the earliest at the given time."""
        self._told = _stamp(self.project), since_ns

    def look(self, names: Sequence[str]) -> None:
        """Look at the files of the project. `names` are labels, specs or either with :STAGE; none for plain doit."""
        record = Record.load(self._path, _environment(self.project))
        if record is None:
            return
        differing = record.differing()
        if differing & (GLOBAL - {FOLDERS}):
            return
        self._record = record
        wanted = names or self.project.default
        if not differing and not record.others and wanted is None:
            self.load = []
            return
        self._moved = FOLDERS in differing
        present = [name for name, _ in self.project.files()] if self._moved else [*record.specs, *record.others]
        specs = {name: _spec(name) for name in (present if wanted is None else wanted)}
        if len(present) != len(set(present)) or not set(specs.values()) <= set(present):
            return  # Whoever loads everything says best what there is not, and what there is twice.
        self._present = present
        current = self._current = set(record.specs).intersection(present) - record.resting(differing)
        # What is asked for in part is loaded: doit knows best what a part needs.
        self._fresh = [name for name, spec in specs.items() if name == spec and spec in current]
        self.load = list(dict.fromkeys(spec for name, spec in specs.items() if name != spec or spec not in current))
        self.named = [name for name in self._fresh if names and name not in self.load]

    def help(self, opened: Any) -> None:
        """Spare what was opened the work that the record makes needless."""
        if self._record is not None and self.load is not None:
            opened.builder.rebuilder.code.believe(self._record.digests(), self.began_ns)

    def remember(self, opened: Any) -> None:
        """Record what is up to date now: of what was loaded, what was found or built; of the rest, what was known."""
        if self.load == []:
            return
        record = (self._record if self.load is not None else None) or Record(_environment(self.project))
        record.leave(set(record.specs) - self._current)
        verified_ns = opened.builder.verify(self.began_ns)
        if self._told is None:
            record.untold = sorted({*record.untold, *_by_spec(opened)})
        else:  # What changed after it was told must not be recorded as what was told.
            (record.pages, since_ns), record.untold = self._told, []
            verified_ns = {id_: min(ns, since_ns) for id_, ns in verified_ns.items()}
        routes = opened.plan.routes
        for name, labels in _by_spec(opened).items():
            ids = dict.fromkeys(id_ for label in labels for id_ in opened.plan.labels[label].values())
            if all(id_ in verified_ns for id_ in ids):
                with contextlib.suppress(OSError, ValueError):  # Something is being changed at this moment.
                    groups = dict.fromkeys(self._groups(record, opened, name, ids, verified_ns))
                    record.enter(name, groups, {label: routes[label] for label in labels})
        record.keep(opened.builder.rebuilder.code.own())
        missing = (path for path, found in opened.builder.rebuilder.code.looked.items() if not found)
        record.absent(map(self._short, missing))
        if self.load is None:
            _, engine = tree(_PACKAGE, ["__pycache__"])
            record.put(ENGINE, engine, self.began_ns)
            record.put(PACKAGES, _site(), self.began_ns)
        if self.load is None or self._moved:
            record.put(FOLDERS, map(self._short, self.project.folders()), self.began_ns)
            self._present = [name for name, _ in self.project.files()]
        record.save(self._path, self._present)

    def _groups(
        self, record: Record, opened: Any, name: str, ids: Iterable[str], verified_ns: dict[str, int]
    ) -> Iterator[str]:
        """The names of the groups that a spec rests on; those that are new are put into the record."""
        for file in self._documents(self.project.file(name)):
            yield self._put(record, "file", [file])
        rebuilder = opened.builder.rebuilder
        for id_ in ids:
            stage = opened.plan.stages[id_]
            manifest = rebuilder.manifest_path(stage)
            group = f"{STAGE}{id_}"
            files = [manifest, Request.path_of(manifest.parent, stage.name)]
            files += [manifest.parent / artifact for artifact in rebuilder.intact[manifest]]
            record.put(group, map(self._short, files), verified_ns[id_])
            yield group
            for source in stage.sources.values():
                yield self._put(record, "source", _content(self._short(source)))
            for file in opened.builder.code_files(stage):
                if not file.startswith(_PACKAGE + os.sep):
                    yield self._put(record, "file", [self._short(file)])

    def _put(self, record: Record, kind: str, files: list[str]) -> str:
        group = f"{kind} {files[0]}"
        if group not in self._done:
            self._done.add(group)
            record.put(group, files, self.began_ns)
        return group

    def _documents(self, file: Path) -> Iterator[str]:
        """A spec's file and those that it extends."""
        while True:
            yield self._short(file)
            base = json.loads(file.read_text(encoding="utf-8-sig")).get("extends")
            if base is None:
                return
            file = Path(os.path.normpath(file.parent / base))

    def _short(self, path: str | Path) -> str:
        """Relative to the project where that is shorter: it is what doit makes the working directory."""
        return str(path).removeprefix(f"{self.project.root}{os.sep}")


def _stamp(project: Project) -> str:
    """The state of what the pages remember, another one whenever they are written; empty if there is nothing."""
    try:
        return identity(project.pages.stat())
    except OSError:
        return ""


def _spec(name: str) -> str:
    return name.partition(":")[0].partition("@")[0]


def _by_spec(opened: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for label in opened.plan.labels:
        found.setdefault(_spec(label), []).append(label)
    return found


def _content(path: str) -> list[str]:
    """All that decides what a source holds: a file; a folder with all below it; or the parts of a checkpoint."""
    if os.path.isdir(path):  # noqa: PTH112
        folders, files = tree(path)
        return [*folders, *files]
    if os.path.exists(path):  # noqa: PTH110
        return [path]
    folder, name = os.path.split(path)
    try:
        names = sorted(path.name for path in Path(folder or ".").iterdir())
    except OSError:
        names = []
    return [path, folder or ".", *(os.path.join(folder, each) for each in names if each.startswith(f"{name}."))]  # noqa: PTH118


def _site() -> list[str]:
    """The folders that packages are installed in: installing or removing one changes them."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def _environment(project: Project) -> str:
    """What decides about every spec and is in no file that is looked at."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    return json.dumps([_FORMAT, repr(project), sys.version, _site(), os.environ.get("PYTHONPATH"), devices, _PACKAGE])
