"""Digests of files, cached by file state, and the comparison of artifacts with their manifest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from qatbuild.engine.file_cache import FileCache
from qatbuild.engine.walk import tree
from qatbuild.exchange.files import canonical_json, file_sha256
from qatbuild.exchange.manifest import Manifest


class Digests:
    """File digests in a file cache, so that an unchanged file is read once."""

    def __init__(self, cache: FileCache | None = None) -> None:
        """Uses a cache; by default, a new one in memory."""
        self.cache = cache or FileCache()

    @classmethod
    def load(cls, path: Path) -> Digests:
        """Returns the digests cached in `path`. An unreadable cache counts as empty."""
        return cls(FileCache(path, "digests"))

    def sha256(self, path: Path | str) -> str:
        """Returns the SHA-256 of a file. FileNotFoundError without one."""
        return self._sha256(str(path), os.stat(path))  # noqa: PTH116

    def _sha256(self, file: str, status: os.stat_result) -> str:
        digest = self.cache.get(file, status)
        if digest is None:
            digest = file_sha256(file)
            self.cache.put(file, status, digest)
        return digest

    def tree_sha256(self, path: Path) -> str:
        """Returns the SHA-256 of a file, or of all files below a folder with their relative names, links followed.

        OSError if one of them cannot be read.
        """
        if not path.is_dir():
            return self.sha256(path)
        files = sorted(file for file in map(Path, tree(str(path), unreadable=_refuse)[1]) if file.is_file())
        rows = [[file.relative_to(path).as_posix(), self.sha256(file)] for file in files]
        return hashlib.sha256(canonical_json(rows).encode()).hexdigest()

    def damage(self, manifest: Manifest) -> list[str]:
        """Returns the differences from the published state: 'model.tflite: edited', '...: missing'. Empty if intact."""
        faults = []
        for name, (size_bytes, digest) in manifest.files.items():
            file = f"{manifest.folder}/{name}"
            try:
                status = os.stat(file)  # noqa: PTH116  Every artifact of every input of every stage.
                if not digest:
                    continue
                if status.st_size != size_bytes:
                    faults.append(f"{name}: {status.st_size} bytes instead of {size_bytes}")
                elif self._sha256(file, status) != digest:
                    faults.append(f"{name}: edited")
            except OSError:
                faults.append(f"{name}: missing")
        return faults


def _refuse(fault: OSError) -> None:
    raise fault
