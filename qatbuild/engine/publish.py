"""Publishing: a stage's artifacts are moved from its work folder into place, the manifest last."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.files import write_text
from qatbuild.exchange.manifest import LOGS, Manifest


def publish(manifest: Manifest, folder: Path, record: tuple[Path, str]) -> Manifest:
    """Move the artifacts of `manifest` (and its logs) into `folder`, each by rename, the manifest last.

    `record` is a file and the text that says what the artifacts were made from; it is written before they move, so
    that no artifact ever stands beside the record of another. What the stage's former manifest named and the new one
    does not is removed. Interrupted at any point, the folder has no manifest, so it counts as not built.
    """
    target = Manifest.path_of(folder, manifest.stage)
    retired = target.with_suffix(".former")
    folder.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.replace(retired)
    write_text(*record)
    for name in manifest.files:
        destination = folder / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        (manifest.folder / name).replace(destination)
    for name in LOGS:
        if (manifest.folder / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
            (manifest.folder / name).replace(folder / name)
    with contextlib.suppress(ArtifactError):
        for name in set(Manifest.read(retired).files) - set(manifest.files):
            (folder / name).unlink(missing_ok=True)
    write_text(target, manifest.to_json())
    retired.unlink(missing_ok=True)
    return Manifest(manifest.stage, folder, manifest.files, manifest.facts)
