"""One published stage, as its manifest and its record beside the artifacts tell it.

Records name folders by absolute paths; a link follows them relative to its own folder, so that a project can be moved.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.published import Record
from qatbuild.exchange.request import Request


@dataclass(frozen=True)
class Link:
    """One published stage: its manifest with the manifest's text, and the record of its request."""

    manifest: Manifest
    text: str
    record: Record

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.manifest.stage

    @property
    def folder(self) -> Path:
        """The folder of its artifacts."""
        return self.manifest.folder

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the manifest's text, by which later stages name it."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def inputs(self) -> Mapping[str, tuple[str, str]]:
        """Upstream stage -> its folder, and the SHA-256 of the manifest that this stage read."""
        return {role: (self._place(str(each.path)), each.sha256) for role, each in self.record.request.inputs.items()}

    def _place(self, manifest: str) -> str:
        """Returns the folder of a manifest of the record, seen from where this stage's folder is now."""
        folder, here, then = os.path.dirname(manifest), str(self.folder), str(self.record.request.folder)  # noqa: PTH120
        return folder if here == then else os.path.normpath(os.path.join(here, os.path.relpath(folder, then)))  # noqa: PTH118

    @classmethod
    def read(cls, folder: str, stage: str) -> Link:
        """Reads a published stage. ArtifactError naming the file that is missing or invalid."""
        manifest, text = Manifest.read_with_text(Manifest.path_of(Path(folder), stage))
        record = Request.path_of(manifest.folder, stage)
        try:
            return cls(manifest, text, Record.read(record))
        except (OSError, ValueError) as fault:
            raise ArtifactError("A record cannot be read.", [("file", record), ("reason", fault)]) from fault
