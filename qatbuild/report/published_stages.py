"""The published stages that the report reads: each is read once, though several readers and models need it."""

from __future__ import annotations

from pathlib import Path

from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.link import Link
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.published import NO_MANIFEST, Record
from qatbuild.exchange.request import Request

_MOST_LINKS = 64
"""Links that are kept in memory; one model has about ten."""


class PublishedStages:
    """Stages as they were published when they were first asked for."""

    def __init__(self) -> None:
        """Begins without a stage."""
        self._links: dict[tuple[str, str], Link | None] = {}

    def link(self, folder: str, stage: str) -> Link | None:
        """Returns a published stage, also a refused evaluation, which has no manifest; None if it is not to be trusted.

        It is not if its record is missing, unreadable, or not of this manifest.
        """
        if (folder, stage) not in self._links:
            if len(self._links) >= _MOST_LINKS:
                self._links.clear()
            self._links[folder, stage] = _read(folder, stage)
        return self._links[folder, stage]

    def sha256(self, folder: str, stage: str, name: str) -> str:
        """Returns the SHA-256 with which a stage published an artifact; '' without a sound record of it."""
        link = self.link(folder, stage)
        files = {**link.manifest.files, **link.record.measured} if link else {}
        return files[name][1] if name in files else ""


def _read(folder: str, stage: str) -> Link | None:
    link: Link | None
    try:
        link = Link.read(folder, stage)
    except ArtifactError:
        link = _refused(Path(folder), stage)
    return link if link is not None and link.record.belongs_to(link.text) else None


def _refused(folder: Path, stage: str) -> Link | None:
    """Returns a stage that has a record and no manifest."""
    if Manifest.path_of(folder, stage).exists():
        return None
    try:
        record = Record.read(Request.path_of(folder, stage))
    except (OSError, ValueError):
        return None
    return Link(Manifest(stage, folder, {}, {}), NO_MANIFEST, record)
