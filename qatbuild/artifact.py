"""What exists: files, their digests, and the manifest that says which files a stage left.

Laws. A manifest holds no clock, host or absolute path, so an equal rebuild has an equal manifest and nothing
downstream runs. A manifest is written last, by rename: while it stands, every file it names was complete. A file
that no longer matches its manifest is stale, whatever its age.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qatbuild.errors import ArtifactError
from qatbuild.memory import Memory
from qatbuild.tree import tree

LOGS = ("events",)
"""Folders of a stage that are published and not in its manifest: TensorBoard events carry clocks."""

CLOCKED = ("report.json", "benchmark.json")
"""Artifacts that hold measured times, so that no two are equal: a manifest only says that they are there."""

_CHUNK_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the whole new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def canonical_json(value: object) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


class Digests:
    """File digests, remembered (see memory.py), so that an unchanged file is read once, whoever asks."""

    def __init__(self, memory: Memory | None = None) -> None:
        """Digests with a memory; by default one of this process alone."""
        self.memory = memory or Memory()

    @classmethod
    def load(cls, path: Path) -> Digests:
        """The digests remembered in `path`; an unreadable memory is an empty one, for it is only a shortcut."""
        return cls(Memory(path, "digests"))

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file; FileNotFoundError where there is none."""
        status = path.stat()
        name = str(path)
        known = self.memory.get(name, status)
        if known is None:
            known = file_sha256(path)
            self.memory.put(name, status, known)
        return known

    def tree_sha256(self, path: Path) -> str:
        """SHA-256 of a file, or of all files below a folder with their relative names, links followed."""
        if not path.is_dir():
            return self.sha256(path)
        files = sorted(file for file in map(Path, tree(str(path))[1]) if file.is_file())
        rows = [[file.relative_to(path).as_posix(), self.sha256(file)] for file in files]
        return hashlib.sha256(canonical_json(rows).encode()).hexdigest()

    def save(self) -> None:
        """Write the memory, if there is anything new in it."""
        self.memory.save()


@dataclass(frozen=True)
class Manifest:
    """The files that a stage left in a folder, and the facts it found out about them.

    `files` maps a name relative to the folder to (bytes, SHA-256), or (0, "") for what is clocked. `facts`
    is small JSON data for later stages and for the report: shapes, counts, steps, scales.
    """

    stage: str
    folder: Path
    files: Mapping[str, tuple[int, str]]
    facts: Mapping[str, Any]

    @staticmethod
    def path_of(folder: Path, stage: str) -> Path:
        """Where the manifest of a stage stands."""
        return folder / f"{stage}.manifest.json"

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest at `path`; ArtifactError if it is missing or not one."""
        return cls.read_with_text(path)[0]

    @classmethod
    def read_with_text(cls, path: Path) -> tuple[Manifest, str]:
        """The manifest at `path` and the text that says it; ArtifactError if it is missing or not one."""
        try:
            text = path.read_text(encoding="utf-8")
            fields = json.loads(text)
            files = {name: (int(size), str(digest)) for name, (size, digest) in fields["files"].items()}
            if any(name.startswith("/") or ".." in name.split("/") for name in files):
                raise ValueError("a name leads out of the folder")  # noqa: TRY301  One more way to be no manifest.
            return cls(fields["stage"], path.parent, files, fields["facts"]), text
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            raise ArtifactError("A manifest cannot be read.", [("file", path), ("reason", fault)]) from fault

    @classmethod
    def of(cls, stage: str, folder: Path, facts: Mapping[str, Any]) -> Manifest:
        """The manifest of all files below `folder`, except the logs."""
        found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
        files = {
            name.as_posix(): (0, "") if name.name in CLOCKED else (path.stat().st_size, file_sha256(path))
            for name, path in found.items()
            if name.parts[0] not in LOGS
        }
        return cls(stage, folder, files, facts)

    def to_json(self) -> str:
        """The manifest's text: equal for equal artifacts and facts."""
        fields = {"stage": self.stage, "files": self.files, "facts": self.facts}
        return json.dumps(fields, indent=1, sort_keys=True, allow_nan=False) + "\n"

    def file(self, name: str) -> Path:
        """The path of one artifact; ArtifactError if the stage did not leave it."""
        if name not in self.files:
            known = ", ".join(self.files)
            raise ArtifactError(f"The stage {self.stage} left no {name}.", [("it left", known)])
        return self.folder / name

    def damage(self, digests: Digests) -> list[str]:
        """What is not as it was published: 'model.tflite: missing', 'model.tflite: edited'. Empty if intact."""
        faults = []
        for name, (size_bytes, digest) in self.files.items():
            path = self.folder / name
            try:
                found_bytes = path.stat().st_size
                if not digest:
                    continue
                if found_bytes != size_bytes:
                    faults.append(f"{name}: {found_bytes} bytes instead of {size_bytes}")
                elif digests.sha256(path) != digest:
                    faults.append(f"{name}: edited")
            except OSError:
                faults.append(f"{name}: missing")
        return faults


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
