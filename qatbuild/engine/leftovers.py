"""What lies in a build folder and no spec plans any more: stages of former specs, scratch folders of given-up requests.

Only what a stage made counts: files that its manifest names and those that stand beside it. What else somebody put
into the folder stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qatbuild.engine.plan import Plan
from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.lock import busy
from qatbuild.exchange.manifest import LOGS, Manifest

_OTHERS = {"shared", "work", "downloads"}
_RECORDS = ("manifest", "request", "run")


@dataclass(frozen=True)
class Leftover:
    """Files and folders that go together; `path` is what to call them."""

    path: Path
    parts: tuple[Path, ...]

    @property
    def files(self) -> list[Path]:
        """Every file of it."""
        inside = [file for part in self.parts if part.is_dir() for file in part.rglob("*")]
        return [file for file in (*self.parts, *inside) if file.is_file()]

    @property
    def used(self) -> float:
        """When the youngest of its files was written, in seconds."""
        return max((file.stat().st_mtime for file in self.files), default=0.0)

    @property
    def size_bytes(self) -> int:
        """What its files hold; a file that the store holds too is freed only when it goes there as well."""
        return sum(file.stat().st_size for file in self.files)

    def remove(self, build: Path) -> None:
        """Remove it, and the folders above it that are then empty, up to the build folder."""
        for part in self.parts:
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)
        for folder in (self.path, *self.path.parents):
            if folder == build or not folder.is_relative_to(build):
                return
            with contextlib.suppress(OSError):
                folder.rmdir()


def leftovers(build: Path, plan: Plan, keys: Mapping[str, str | None]) -> Iterator[Leftover]:
    """What a plan has no use for. `keys` says by stage id which request a stage has now, None if that is not known."""
    homes = {stage.home for stage in plan.stages.values()}
    for folder in sorted((build / "shared").glob("*")):
        if f"shared/{folder.name}" not in homes:
            yield Leftover(folder, (folder,))
    for folder in sorted(path.parent for path in (build / "work").rglob("request.json")):
        name, _, key = folder.name.rpartition("-")
        id_ = f"{folder.parent.relative_to(build / 'work').as_posix()}:{name}"
        now = keys.get(id_, "")
        if now is not None and now[:16] != key and not busy(folder / "lock"):
            yield Leftover(folder, (folder,))
    for folder in _label_folders(build):
        yield from _of_label(folder, folder.relative_to(build).as_posix(), plan)


def _of_label(folder: Path, home: str, plan: Plan) -> Iterator[Leftover]:
    here = {path.name.removesuffix(f".{kind}.json") for kind in _RECORDS for path in folder.glob(f"*.{kind}.json")}
    planned = {name for name in here if f"{home}:{name}" in plan.stages}
    live = {name for stage in planned for name in _names(folder, stage)}
    if not planned and home not in plan.labels:
        parts = [folder / name for stage in here for name in (*_names(folder, stage), *_beside(stage))]
        parts += [folder / name for name in ("log.txt", *LOGS)]
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
    """Folders of labels, of now or of former times: those in which a stage has left its records."""
    for place, folders, names in os.walk(build):
        folder = Path(place)
        if folder == build:
            folders[:] = sorted(name for name in folders if name not in _OTHERS and not name.startswith("."))
        if any(name.endswith((".manifest.json", ".request.json")) for name in names):
            yield folder
