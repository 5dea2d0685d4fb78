"""Publishes a stage: moves its artifacts from its work folder into place, the manifest last.

Whatever has come to lie in an artifact's place makes way.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.files import discard, make_folder, put, remove, write_text
from qatbuild.exchange.manifest import LOGS, Manifest


def publish(
    manifest: Manifest, file: Path, folder: Path, record: tuple[Path, str], *, elsewhere: bool = False
) -> Manifest:
    """Moves the artifacts and logs of `manifest` into `folder`, then the manifest's own `file`, each by rename.

    `record` is (file, text) of the request that made the artifacts. It is written before they move, so that no
    artifact is ever beside the record of another request. Artifacts that are only in the stage's previous manifest
    are removed; of artifacts that are `elsewhere`, so is all that lies in their places. If this is interrupted, the
    folder has no manifest, so the stage counts as not built. Returns the manifest in its place.
    """
    source, place = str(manifest.folder), str(folder)
    target = str(Manifest.path_of(folder, manifest.stage))
    retired = f"{target.removesuffix('.json')}.former"
    if os.path.isfile(target):  # noqa: PTH113
        put(target, retired)
    write_text(*record)
    for name in manifest.files:
        if elsewhere:
            discard(folder / name)
            continue
        if "/" in name:
            make_folder((folder / name).parent)
        put(f"{source}/{name}", f"{place}/{name}")
    for name in LOGS:
        if os.path.isdir(f"{source}/{name}"):  # noqa: PTH112
            remove(folder / name)
            put(f"{source}/{name}", f"{place}/{name}")
    if os.path.isfile(retired):  # noqa: PTH113  Also the manifest of a build that was killed while it published.
        for name in _names(Path(retired)) - set(manifest.files):
            with contextlib.suppress(OSError):  # Not a file of the stage's; it is in no manifest any more.
                (folder / name).unlink()
        put(str(file), target)
        Path(retired).unlink()
    else:
        put(str(file), target)
    return Manifest(manifest.stage, folder, manifest.files, manifest.facts)


def show_refused(stage: str, source: Path, folder: Path, record: tuple[Path, str]) -> None:
    """Moves a refused model into place without a manifest: it can be looked at, and does not count as built.

    `record` is (file, text) of its request.
    """
    make_folder(folder)
    discard(Manifest.path_of(folder, stage))
    write_text(*record)
    for path in source.glob("*"):
        if path.is_dir():
            remove(folder / path.name)
        put(str(path), str(folder / path.name))


def withdraw(stage: str, folder: Path) -> None:
    """Removes the artifacts and records of a stage from its folder."""
    manifest = Manifest.path_of(folder, stage)
    for name in [*_names(manifest), manifest.name, f"{stage}.request.json", f"{stage}.run.json"]:
        with contextlib.suppress(IsADirectoryError, NotADirectoryError):  # Not the stage's own.
            (folder / name).unlink(missing_ok=True)


def _names(file: Path) -> set[str]:
    try:
        return set(Manifest.read(file).files)
    except ArtifactError:
        return set()
