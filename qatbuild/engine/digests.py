"""Digests of files, cached by file status, and the comparison of artifacts with their manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from qatbuild.engine.file_cache import Memory
from qatbuild.engine.walk import tree
from qatbuild.exchange.files import canonical_json, file_sha256
from qatbuild.exchange.manifest import Manifest


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

    def damage(self, manifest: Manifest) -> list[str]:
        """What is not as it was published: 'model.tflite: missing', 'model.tflite: edited'. Empty if intact."""
        faults = []
        for name, (size_bytes, digest) in manifest.files.items():
            path = manifest.folder / name
            try:
                found_bytes = path.stat().st_size
                if not digest:
                    continue
                if found_bytes != size_bytes:
                    faults.append(f"{name}: {found_bytes} bytes instead of {size_bytes}")
                elif self.sha256(path) != digest:
                    faults.append(f"{name}: edited")
            except OSError:
                faults.append(f"{name}: missing")
        return faults

    def save(self) -> None:
        """Write the memory, if there is anything new in it."""
        self.memory.save()
