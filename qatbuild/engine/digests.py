"""Digests of files, cached by file state, and the comparison of artifacts with their manifest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from qatbuild.engine.file_cache import FileCache
from qatbuild.engine.walk import tree
from qatbuild.exchange.files import canonical_json, file_sha256
from qatbuild.exchange.manifest import Manifest

_MOST_SYNCED = 100
"""For more files, one sync of the whole system takes less time."""

_WRITTEN_BACK_S = 600
"""Linux writes changes back after half a minute; with settings that save power, after ten minutes."""


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
            return self.source_sha256([path])[0]
        files = sorted(file for file in map(Path, tree(str(path), unreadable=_refuse)[1]) if file.is_file())
        names = [file.relative_to(path).as_posix() for file in files]
        rows = list(map(list, zip(names, self.source_sha256(files), strict=True)))
        return hashlib.sha256(canonical_json(rows).encode()).hexdigest()

    def source_sha256(self, files: Sequence[Path]) -> list[str]:
        """Returns the SHA-256 of each of a user's files, which other processes may have mapped and be writing to.

        FileNotFoundError if one is missing.
        """
        states = [(str(file), os.stat(file)) for file in files]  # noqa: PTH116
        digests = [self.cache.get(*state) for state in states]
        _write_back([state for state, digest in zip(states, digests, strict=True) if digest is None])
        return [digest or self._sha256(*state) for state, digest in zip(states, digests, strict=True)]

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


def _write_back(files: Sequence[tuple[str, os.stat_result]]) -> None:
    """Has the system write back the changes of files that will be read, so that every further change shows.

    The first write through a memory map to a page changes the file's ctime; further ones do not, until the page has
    been written back. Many files that have not changed for long are left alone: the system has done it.
    """
    if len(files) > _MOST_SYNCED:
        if max(status.st_ctime for _, status in files) > time.time() - _WRITTEN_BACK_S:
            os.sync()
        return
    for file, _ in files:
        with contextlib.suppress(OSError):  # Whether it can be read is seen later.
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _refuse(fault: OSError) -> None:
    raise fault
