"""The user's terminal in a worker process.

A worker's stdout and stderr go to its log, with their file descriptors, to which TensorFlow's C++ code writes.
Progress goes to the terminal of the build, whose file descriptor the worker inherits.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

FILENO_VARIABLE = "QATBUILD_CONSOLE"
"""The environment variable with the terminal's file descriptor."""

_streams: dict[int, TextIO] = {}


def stream() -> TextIO:
    """Return the stream for progress: the build's terminal, or stderr outside a build."""
    number = int(os.environ.get(FILENO_VARIABLE, "2"))
    if number not in _streams:
        _streams[number] = sys.stderr if number == 2 else _text(number)  # noqa: PLR2004
    return _streams[number]


def _text(number: int) -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(_Terminal(number, "w", closefd=False)), encoding="utf-8")


class _Terminal(io.FileIO):
    """A file whose writes cannot fail: progress that no reader waits for must not end a training."""

    def write(self, data: Any) -> int:
        """Write what can be written."""
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


def bar() -> dict[str, Any]:
    """Return arguments for tqdm: a live bar on a terminal, a line every 10 seconds in a log."""
    live = stream().isatty()
    return {"file": stream(), "mininterval": 0.1 if live else 10, "dynamic_ncols": live, "leave": not live}
