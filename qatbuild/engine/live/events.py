"""The events of a build for programs: one JSON object a line, in a file or a FIFO (`doit run --events FILE`).

Every line is one write, so that a killed build leaves whole lines. A file that cannot be written any more ends the
events, not the build. Into a FIFO nothing is written that would block: a reader that is slow loses events of progress
first, and one that never comes costs the build nothing.
"""

from __future__ import annotations

import errno
import json
import math
import os
import select
import stat
import threading
import time
from pathlib import Path

from qatbuild.exchange.errors import ArtifactError, system_facts

PROGRESS = "progress"
"""The event of which some may be lost."""

_MOST_PENDING_BYTES = 1 << 20
_LAST_S = 1.0
"""How long the end of a build waits for the reader of a FIFO."""

_HINT = "--events FILE needs a file in an existing folder that can be written, or a FIFO"


class Events:
    """A file of events, from any thread."""

    def __init__(self, path: Path) -> None:
        """Begins a file anew, or opens a FIFO. ArtifactError if it cannot be written."""
        try:
            is_pipe = path.exists() and stat.S_ISFIFO(path.stat().st_mode)
            # Opened also for reading, a FIFO needs no reader (Linux, fifo(7)), and a reader that goes is no SIGPIPE.
            mode = os.O_RDWR if is_pipe else os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            self._file = os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        except OSError as fault:
            raise ArtifactError("The file of events cannot be written.", system_facts(fault), _HINT) from fault
        self._is_file = stat.S_ISREG(os.fstat(self._file).st_mode)
        self._lock = threading.Lock()
        self._pending = b""
        self._fault: OSError | None = None
        self._is_closed = False

    def add(self, event: str, **fields: object) -> None:
        """Writes an event of a kind, with the time (seconds since the epoch)."""
        row = {"event": event, "time": round(time.time(), 3)}
        row |= {name: _plain(value) for name, value in fields.items()}
        line = (json.dumps(row, default=str) + "\n").encode()
        with self._lock:
            if self._fault is not None or self._is_closed:
                return
            self._flush()
            if len(self._pending) + len(line) < (_MOST_PENDING_BYTES if event != PROGRESS else 1 << 16):
                self._pending += line
                self._flush()

    def close(self) -> OSError | None:
        """Ends the events; returns the fault for which some are missing, if any."""
        with self._lock:
            end_s = time.monotonic() + _LAST_S
            while self._pending and self._fault is None and (wait_s := end_s - time.monotonic()) > 0:
                select.select([], [self._file], [], wait_s)
                self._flush()
            os.close(self._file)
            self._is_closed = True
            return self._fault

    def _flush(self) -> None:
        """Writes what can be written without waiting."""
        if not self._pending:
            return
        try:
            written = os.write(self._file, self._pending)
            if self._is_file and written < len(self._pending):  # No line is left cut off.
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
        except BlockingIOError:
            return
        except OSError as fault:
            self._fault = fault
            return
        self._pending = self._pending[written:]


def _plain(value: object) -> object:
    """Returns a value that JSON has: no infinite number, and seconds in ms."""
    if isinstance(value, float):
        return round(value, 3 if abs(value) >= 1 else 6) if math.isfinite(value) else None
    return value
