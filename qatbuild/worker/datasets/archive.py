"""Archives that may be damaged; tar archives as streams, compressed or not, with verified checksums."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

DAMAGE: tuple[type[Exception], ...] = (
    *(tarfile.TarError, zipfile.BadZipFile, zipfile.LargeZipFile, lzma.LZMAError, zlib.error, struct.error),
    *(OSError, EOFError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, SyntaxError, MemoryError),
    tokenize.TokenError,  # NumPy's for an array's header
    RuntimeError,  # zipfile's for an encrypted member; NotImplementedError for an unknown compression
)
"""The errors of reading a damaged, truncated, encrypted or unreadable archive, array or picture, or another file.

Their readers are written in Python and believe what a file says: a wrong byte may end in any of these.
"""

_BUFFER_BYTES = 1 << 20


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Opens the archive at `path`, to be read once from front to end; its content decides about the compression.

    On leaving, the rest is read too, because the compressor's checksum is at the end (tarfile's own streams stop at
    the last entry and never verify it). Raises one of DAMAGE, here or while entries are read.
    """
    with (
        path.open("rb") as raw,
        _decompressed(raw) as plain,
        tarfile.open(fileobj=plain, mode="r|", bufsize=_BUFFER_BYTES) as archive,
    ):
        yield archive
        while plain.read(_BUFFER_BYTES):
            pass


def _decompressed(raw: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    head = raw.read(6)
    raw.seek(0)
    if not head:
        raise tarfile.ReadError("the file is empty")
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(raw)
    if head.startswith(b"BZh"):
        return bz2.open(raw)
    if head.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        return lzma.open(raw)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        raise tarfile.ReadError("it is compressed with zstandard; use gzip, bzip2, xz or no compression")
    return raw
