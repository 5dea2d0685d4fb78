"""Publishes a stage: moves its artifacts from its work folder into place, the manifest last."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.files import write_text
from qatbuild.exchange.manifest import LOGS, Manifest


def publish(manifest: Manifest, file: Path, folder: Path, record: tuple[Path, str]) -> Manifest:
    """Moves the artifacts and logs of `manifest` into `folder`, then the manifest's own `file`, each by rename.

    `record` is (file, text) of the request that made the artifacts. It is written before they move, so that no artifact
    is ever beside the record of another request. Artifacts that are only in the stage's previous manifest are removed.
    If this is interrupted, the folder has no manifest, so the stage counts as not built. Returns the manifest's path.
    """
    target = Manifest.path_of(folder, manifest.stage)
    retired = target.with_suffix(".former")
    with contextlib.suppress(FileNotFoundError):
        target.replace(retired)
    write_text(*record)
    for name in manifest.files:
        if "/" in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (manifest.folder / name).replace(folder / name)
    for name in LOGS:
        if (manifest.folder / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
            (manifest.folder / name).replace(folder / name)
    if retired.exists():  # Also the manifest of a build that was killed while it published.
        for name in _names(retired) - set(manifest.files):
            (folder / name).unlink(missing_ok=True)
        file.replace(target)
        retired.unlink()
    else:
        file.replace(target)
    return Manifest(manifest.stage, folder, manifest.files, manifest.facts)


def _names(file: Path) -> set[str]:
    try:
        return set(Manifest.read(file).files)
    except ArtifactError:
        return set()
