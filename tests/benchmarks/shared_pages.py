"""How much of a folder's files the system holds in its page cache, counted page by page (mincore)."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROT_READ, _MAP_SHARED = 1, 1
_FAILED = ctypes.c_void_p(-1).value


def cached_bytes(folder: Path) -> int:
    """Return the bytes of the files below a folder that are in the page cache."""
    return sum(_cached_pages(file) for file in _files(folder)) * mmap.PAGESIZE


def drop(folder: Path) -> None:
    """Ask the system to forget the files; it keeps what has not been written to a disk, as in a tmpfs."""
    for file in _files(folder):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size]


def _cached_pages(file: Path) -> int:
    size = file.stat().st_size
    residence = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    with _mapped(libc, file, size) as address:
        if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), residence):
            raise OSError(ctypes.get_errno(), "mincore", str(file))
    return sum(page & 1 for page in residence)


@contextmanager
def _mapped(libc: ctypes.CDLL, file: Path, size: int) -> Iterator[int]:
    """Map a file, of which nothing is read by that; Python's own mmap does not say where."""
    with file.open("rb") as stream:
        length = ctypes.c_size_t(size)
        address = libc.mmap(None, length, _PROT_READ, _MAP_SHARED, stream.fileno(), ctypes.c_long(0))
        if address == _FAILED:
            raise OSError(ctypes.get_errno(), "mmap", str(file))
        try:
            yield address
        finally:
            libc.munmap(ctypes.c_void_p(address), length)
