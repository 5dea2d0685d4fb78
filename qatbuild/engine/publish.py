"""Publishes a stage: moves its artifacts from its work folder into place, the manifest last."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.files import write_text
from qatbuild.exchange.manifest import LOGS, Manifest


def publish(manifest: Manifest, file: Path, folder: Path, record: tuple[Path, str]) -> Manifest:
    """Moves the artifacts and logs of `manifest` into `folder`, then the manifest's own `file`, each by rename.

    `record` is (file, text) of the request that made the artifacts. It is written before they move, so that no
    artifact is ever beside the record of another request. Artifacts that are only in the stage's previous manifest
    are removed. If this is interrupted, the folder has no manifest, so the stage counts as not built. Returns the
    manifest in its place.
    """
    source, place = str(manifest.folder), str(folder)
    target = str(Manifest.path_of(folder, manifest.stage))
    retired = f"{target.removesuffix('.json')}.former"
    with contextlib.suppress(FileNotFoundError):
        _move(target, retired)
    write_text(*record)
    for name in manifest.files:
        if "/" in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _move(f"{source}/{name}", f"{place}/{name}")
    for name in LOGS:
        if os.path.isdir(f"{source}/{name}"):  # noqa: PTH112
            shutil.rmtree(folder / name, ignore_errors=True)
            _move(f"{source}/{name}", f"{place}/{name}")
    if os.path.exists(retired):  # noqa: PTH110  Also the manifest of a build that was killed while it published.
        for name in _names(Path(retired)) - set(manifest.files):
            (folder / name).unlink(missing_ok=True)
        _move(str(file), target)
        Path(retired).unlink()
    else:
        _move(str(file), target)
    return Manifest(manifest.stage, folder, manifest.files, manifest.facts)


def _move(source: str, target: str) -> None:
    os.replace(source, target)  # noqa: PTH105  Several times a stage: a Path would take longer than the call.


def _names(file: Path) -> set[str]:
    try:
        return set(Manifest.read(file).files)
    except ArtifactError:
        return set()
