"""The end of a file that grows: a log, or the lines that a stage says of its progress."""

from __future__ import annotations

import os
from pathlib import Path

_MOST_BYTES = 1 << 14
"""Bytes of a log in one message. A scheduler keeps a thousand messages; the end of a log comes with the outcome."""


class Tail:
    """The end of a file that grows, and may begin anew."""

    def __init__(self, file: Path) -> None:
        """Begins at the start of a file, which need not exist yet."""
        self._file = file
        self.offset = 0

    def read(self) -> bytes:
        """Returns whole lines that were added since the last call, or the first of them."""
        try:
            if os.stat(self._file).st_size == self.offset:  # noqa: PTH116  Most of the time.
                return b""
            with self._file.open("rb") as opened:
                if opened.seek(0, 2) < self.offset:
                    self.offset = 0
                opened.seek(self.offset)
                added = opened.read(_MOST_BYTES)
        except OSError:
            return b""
        if len(added) < _MOST_BYTES:
            added = added[: max(added.rfind(b"\n"), added.rfind(b"\r")) + 1]
        self.offset += len(added)
        return added
