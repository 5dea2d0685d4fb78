"""The pace of transfers: what comes too slowly counts as hanging."""

from __future__ import annotations

import os
import time
from typing import IO

from qatbuild.engine.store.remote import Cause, RemoteError

CHUNK_BYTES = 1 << 18
"""What is read and written at once."""

_SLOWEST_BYTES_S = 1000.0
"""Without a limit, a server that sends a byte a second would hold a build."""


class Pace:
    """Counts the bytes of a transfer. RemoteError when they come too slowly."""

    def __init__(self, timeout_s: float) -> None:
        """Begins a transfer, which may take `timeout_s`, and more for each byte."""
        self.bytes = 0
        self._timeout_s = timeout_s
        self._began_s = time.monotonic()

    def count(self, size_bytes: int) -> None:
        """Counts further bytes."""
        self.bytes += size_bytes
        if time.monotonic() > self._began_s + self._timeout_s + self.bytes / _SLOWEST_BYTES_S:
            raise RemoteError(f"it is slower than {_SLOWEST_BYTES_S:,.0f} bytes a second", Cause.UNREACHABLE)


class Body:
    """A file that is sent. RemoteError when it goes too slowly."""

    def __init__(self, file: IO[bytes], timeout_s: float) -> None:
        """Makes the body of a request from an open file."""
        self._file = file
        self._timeout_s = timeout_s
        self._size_bytes = os.fstat(file.fileno()).st_size
        self.rewind()

    def rewind(self) -> None:
        """Begins again."""
        self._file.seek(0)
        self._pace = Pace(self._timeout_s)

    def __len__(self) -> int:
        return self._size_bytes

    def read(self, most_bytes: int = -1) -> bytes:
        """Returns the next bytes."""
        chunk = self._file.read(CHUNK_BYTES if most_bytes < 0 else most_bytes)
        self._pace.count(len(chunk))
        return chunk
