"""Finds leftovers in a build folder: results of stages that no spec plans, and folders of abandoned requests.

Only a stage's own files are leftovers: its records, and the files in its manifest. Other files stay.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qatbuild.engine.papers import PAPERS
from qatbuild.engine.plan import Plan
from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.files import remove
from qatbuild.exchange.lock import busy
from qatbuild.exchange.manifest import LOGS, Manifest

_OTHERS = {"shared", "work", "downloads"}
_RECORDS = ("manifest", "request", "run")


@dataclass(frozen=True)
class Leftover:
    """Files and folders that are removed together, named `path`."""

    path: Path
    parts: tuple[Path, ...]

    @property
    def files(self) -> list[Path]:
        """Every file among and below the parts."""
        inside = [file for part in self.parts if part.is_dir() for file in part.rglob("*")]
        return [file for file in (*self.parts, *inside) if file.is_file()]

    @property
    def used(self) -> float:
        """The time of its last change, in seconds since the epoch."""
        return max((file.stat().st_mtime for file in self.files), default=0.0)

    @property
    def size_bytes(self) -> int:
        """The size of its files. A file that is also in the store keeps its disk space until it is removed there."""
        return sum(file.stat().st_size for file in self.files)

    def remove(self, build: Path) -> bool:
        """Removes its parts, and the folders above that become empty, up to the build folder.

        Returns whether all parts are gone; prints which are not.
        """
        gone = [remove(part) for part in self.parts]
        for folder in (self.path, *self.path.parents):
            if folder == build or not folder.is_relative_to(build):
                break
            with contextlib.suppress(OSError):
                folder.rmdir()
        return all(gone)


def leftovers(build: Path, plan: Plan, keys: Mapping[str, str | None]) -> Iterator[Leftover]:
    """Yields the leftovers. `keys` maps stage id to the current request's key, None if it is not yet determined."""
    homes = {stage.home for stage in plan.stages.values()}
    for folder in sorted((build / "shared").glob("*")):
        if f"shared/{folder.name}" not in homes:
            yield Leftover(folder, (folder,))
    for folder in sorted(path.parent for path in (build / "work").rglob("request.json")):
        name, _, key = folder.name.rpartition("-")
        id_ = f"{folder.parent.relative_to(build / 'work').as_posix()}:{name}"
        current_key = keys.get(id_, "")
        if current_key is not None and current_key[:16] != key and not busy(folder / "lock"):
            yield Leftover(folder, (folder,))
    for folder in _label_folders(build):
        yield from _of_label(folder, folder.relative_to(build).as_posix(), plan)


def _of_label(folder: Path, home: str, plan: Plan) -> Iterator[Leftover]:
    here = {path.name.removesuffix(f".{kind}.json") for kind in _RECORDS for path in folder.glob(f"*.{kind}.json")}
    planned = {name for name in here if f"{home}:{name}" in plan.stages}
    live = {name for stage in planned for name in _names(folder, stage)}
    if not planned and home not in plan.labels:
        parts = [folder / name for stage in here for name in (*_names(folder, stage), *_beside(stage))]
        parts += [folder / name for name in ("log.txt", *LOGS, *PAPERS)]
        yield Leftover(folder, tuple(part for part in parts if part.exists()))
        return
    for stage in sorted(here - planned):
        names = [*(name for name in _names(folder, stage) if name not in live), *_beside(stage)]
        parts = [folder / name for name in names]
        yield Leftover(folder / stage, tuple(part for part in parts if part.exists()))


def _beside(stage: str) -> Iterable[str]:
    return (f"{stage}.{kind}.json" for kind in _RECORDS)


def _names(folder: Path, stage: str) -> list[str]:
    try:
        return list(Manifest.read(Manifest.path_of(folder, stage)).files)
    except ArtifactError:
        return []


def _label_folders(build: Path) -> Iterator[Path]:
    """Yields the folders of present and former labels: those that hold a stage's records."""
    for place, folders, names in os.walk(build):
        folder = Path(place)
        if folder == build:
            folders[:] = sorted(name for name in folders if name not in _OTHERS and not name.startswith("."))
        if any(name.endswith((".manifest.json", ".request.json")) for name in names):
            yield folder
