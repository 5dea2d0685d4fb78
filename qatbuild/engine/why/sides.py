"""Finds the results that the arguments of `doit why` name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.project import Project
from qatbuild.engine.recorded import record_of
from qatbuild.engine.store import Store
from qatbuild.engine.why.archive import Archive
from qatbuild.engine.why.causes import Side
from qatbuild.exchange.errors import ArtifactError, QatbuildError, SpecError
from qatbuild.exchange.request import Request
from qatbuild.schema.label import Label

LAST = "evaluate"
"""The stage of a label without one."""

_KEY = re.compile(r"[0-9a-f]{8,64}")
_SHOWN = 12
"""Digits of a key in messages."""


class _Named(NamedTuple):
    """One argument: the folder of a build, and the label, stage, record or key in it; '' or None for what it lacks."""

    text: str
    build: Path
    label: str = ""
    stage: str = ""
    record: Path | None = None
    key: str = ""


class Sides:
    """Finds the two results of a comparison, in a project, its store and the build folders of other checkouts."""

    def __init__(self, loaded: LoadedProject, store: Store | None) -> None:
        """Makes a finder for a project with this store."""
        self._loaded = loaded
        self._store = store
        self._builds = [loaded.project.build, *(() if store is None else store.local.builds())]

    def pair(self, one: str, other: str) -> tuple[Side, Side]:
        """Returns both results; a folder takes label and stage from the other argument.

        SpecError for arguments that are ambiguous or name no result, ArtifactError for one without a record.
        """
        first, second = self._named(one), self._named(other)
        first, second = _completed(first, second), _completed(second, first)
        sides = self._side(first), self._side(second)
        stages = [side.origin.request.stage for side in sides]
        if stages[0] != stages[1]:
            facts = list(zip((one, other), stages, strict=True))
            raise SpecError("The two are results of different stages.", facts, "name results of the same stage")
        return sides

    def _named(self, text: str) -> _Named:
        build = self._loaded.project.build
        label = Label.parse(text)
        if label.name in self._loaded.plan.labels:
            self._loaded.select([text])  # A misspelt stage is answered with the nearest one.
            return _Named(text, build, label.name, label.stage or LAST)
        path = Path(text)
        if path.is_dir():
            return _Named(text, *_build_and_label(path.absolute()))
        if path.exists():
            return _Named(text, _build_and_label(path.absolute().parent)[0], record=path)
        if _KEY.fullmatch(text):
            return _Named(text, build, key=text)
        self._loaded.select([text])  # Names the nearest label.
        raise SpecError(
            f'"{text}" is a spec with several labels.',
            [("labels", ", ".join(each for each in self._loaded.plan.labels if Label.parse(each).spec == label.name))],
            "write one of them",
        )

    def _side(self, named: _Named) -> Side:
        archive = Archive([named.build, *self._builds], self._store)
        if named.key:
            return self._of_key(named, archive)
        path = named.record or self._planned(named) or record_of(named.build / named.label, named.stage)
        origin = None if path is None else archive.read(path)
        if origin is None:
            facts = [("looked in", named.build) if path is None else ("file", path)]
            hint = "" if named.record else f"doit {named.label}:{named.stage}"
            raise ArtifactError(f"There is no record of {named.text}.", facts, hint)
        return Side(named.text, origin, archive)

    def _planned(self, named: _Named) -> Path | None:
        """Returns the record of a stage of this project as its spec is now; None if that has not run."""
        plan = self._loaded.plan
        id_ = plan.labels.get(named.label, {}).get(named.stage, "")
        if named.build != self._loaded.project.build or not id_:
            return None
        path = Request.path_of(named.build / plan.stages[id_].home, named.stage)
        return path if path.is_file() else None

    def _of_key(self, named: _Named, archive: Archive) -> Side:
        keys = sorted(archive.keys(named.key))
        if len(keys) > 1:
            facts: list[tuple[str, object]] = [("keys", ", ".join(key[:_SHOWN] for key in keys))]
            raise SpecError(f"Several keys begin with {named.key}.", facts, "write more digits")
        origin = archive.origin(keys[0]) if keys else None
        if origin is None:
            facts = [("looked in", build) for build in self._builds]
            raise SpecError(f"There is no label and no result {named.text} on record.", facts)
        return Side(named.text, origin, archive)


def _completed(named: _Named, other: _Named) -> _Named:
    """Returns a folder's name with label and stage of the other argument. SpecError if that has none either."""
    if named.stage or named.record or named.key:
        return named
    if not other.stage:
        hint = f"doit why LABEL:STAGE {named.text}"
        raise SpecError("Of a folder, a label and a stage must be named.", [("folder", named.text)], hint)
    return named._replace(label=named.label or other.label, stage=other.stage)


def _build_and_label(folder: Path) -> tuple[Path, str]:
    """Returns the build folder that a folder is, holds, or lies in, and the label whose folder it is, '' for none."""
    for build in (folder, *folder.parents):
        if (build / ".qatbuild").is_dir():
            return build, folder.relative_to(build).as_posix() if folder != build else ""
    try:
        build = Project.at(folder).build
    except QatbuildError:
        build = folder / "build"
    return (build, "") if build.is_dir() else (folder, "")
