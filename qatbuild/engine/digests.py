"""Digests of files, cached by file state, and the comparison of artifacts with their manifest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from qatbuild.engine.file_cache import FileCache
from qatbuild.engine.walk import tree
from qatbuild.exchange.files import canonical_json, file_sha256
from qatbuild.exchange.manifest import Manifest

_MOST_SYNCED = 100
"""For more files, one sync of the whole system takes less time."""

_FILES_AT_ONCE = 10_000
"""Files of a folder whose states are in memory together: a hundred thousand would be felt."""

_State = tuple[str, os.stat_result]

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
        top = str(path)
        files = tree(top, unreadable=_refuse)[1]
        files.sort(key=_parts_in_order)
        whole, comma = hashlib.sha256(b"["), b""
        for start in range(0, len(files), _FILES_AT_ONCE):
            states = [state for state in map(_state, files[start : start + _FILES_AT_ONCE]) if state is not None]
            for (file, _), digest in zip(states, self._digests(states), strict=True):
                name = file[len(top) :].lstrip(os.sep)
                whole.update(comma + canonical_json([name, digest]).encode())
                comma = b","
            self.cache.save_if_due()
        whole.update(b"]")
        return whole.hexdigest()

    def source_sha256(self, files: Sequence[Path]) -> list[str]:
        """Returns the SHA-256 of each of a user's files, which other processes may have mapped and be writing to.

        FileNotFoundError if one is missing.
        """
        return self._digests([(str(file), os.stat(file)) for file in files])  # noqa: PTH116

    def _digests(self, states: Sequence[_State]) -> list[str]:
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


def _parts_in_order(file: str) -> str:
    """Returns the key by which files are sorted as the lists of their parts: a name holds no NUL."""
    return file.replace(os.sep, "\0")


def _state(file: str) -> _State | None:
    """Returns a file with its state; None for what is no file, such as a link that leads nowhere."""
    try:
        status = os.stat(file)  # noqa: PTH116  Every file of every source.
    except OSError:
        if Path(file).is_file():  # It has come this moment; a file that cannot be read is an error here.
            raise
        return None
    return (file, status) if stat.S_ISREG(status.st_mode) else None


def _write_back(files: Sequence[_State]) -> None:
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
