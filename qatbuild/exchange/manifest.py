"""Manifests: the files of a stage, with their digests and facts.

A manifest holds no clock, host or absolute path, so an equal rebuild has an equal manifest and no later stage runs. It
is written last, by rename: all files that it names are complete. A file that differs from its manifest is stale.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.files import file_sha256, lined_json, parse_json, read_text

LOGS = ("events",)
"""Published folders that are not in the manifest: TensorBoard events contain clocks."""

CLOCKED = ("report.json", "benchmark.json")
"""Artifacts with measured times, which are never equal: a manifest only has their names."""


@dataclass(frozen=True)
class Manifest:
    """The files of a stage in a folder, and its facts.

    `files` maps a name relative to the folder to (bytes, SHA-256), or to (0, "") for names in CLOCKED. `facts` are
    small JSON data: those of the stage's record in exchange.facts.
    """

    stage: str
    folder: Path
    files: Mapping[str, tuple[int, str]]
    facts: Mapping[str, Any]

    @staticmethod
    def path_of(folder: Path, stage: str) -> Path:
        """Returns the path of a stage's manifest."""
        return folder / f"{stage}.manifest.json"

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Reads a manifest; ArtifactError if it is missing or invalid."""
        return cls.read_with_text(path)[0]

    @classmethod
    def read_with_text(cls, path: Path) -> tuple[Manifest, str]:
        """Reads a manifest: (manifest, its text); ArtifactError if it is missing or invalid."""
        try:
            text = read_text(path)
            return cls.parse(text, path.parent), text
        except (OSError, ValueError) as fault:
            raise ArtifactError("A manifest cannot be read.", [("file", path), ("reason", fault)]) from fault

    @classmethod
    def parse(cls, text: str | bytes, folder: Path) -> Manifest:
        """Parses the text of a manifest of artifacts in `folder`; ValueError if it is invalid."""
        try:
            fields = parse_json(text)
            files = {name: (int(size), str(digest)) for name, (size, digest) in fields["files"].items()}
            if not all(map(is_inside, files)):
                raise ValueError("a name is no path in the folder")
            return cls(str(fields["stage"]), folder, files, {**fields["facts"]})
        except (KeyError, TypeError, AttributeError, OverflowError) as fault:
            raise ValueError(f"no manifest: {fault}") from fault

    @classmethod
    def of(cls, stage: str, folder: Path, facts: Mapping[str, Any]) -> Manifest:
        """Makes the manifest of all files below `folder`, except the logs."""
        paths = [Path(where, name) for where, _, names in os.walk(folder) for name in names]
        files = {
            name.as_posix(): (0, "") if name.name in CLOCKED else (path.stat().st_size, file_sha256(path))
            for name, path in sorted((path.relative_to(folder), path) for path in paths if path.is_file())
            if name.parts[0] not in LOGS
        }
        return cls(stage, folder, files, facts)

    def to_json(self) -> str:
        """Returns the manifest's text, which is equal for equal artifacts and facts."""
        return lined_json({"stage": self.stage, "files": self.files, "facts": self.facts}, sort_keys=True)

    def file(self, name: str) -> Path:
        """Returns the path of one artifact; ArtifactError if the stage has no such artifact."""
        if name not in self.files:
            raise ArtifactError(f"The stage {self.stage} left no {name}.", [("it left", ", ".join(self.files))])
        return self.folder / name


def is_inside(name: str) -> bool:
    """Whether a name is a relative path that stays in its folder; ValueError if no file can have the name."""
    return b"\0" not in os.fsencode(name) and {"", ".", ".."}.isdisjoint(name.split("/"))
