"""The user's terminal in a worker process.

A worker's stdout and stderr go to its log, with their file descriptors, to which TensorFlow's C++ code writes. Progress
and warnings go to the build that watches the stage, as typed lines in a file; otherwise to the terminal, whose file
descriptor the worker inherits.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from qatbuild.exchange.activity import Warned

if TYPE_CHECKING:
    from tqdm import tqdm

FILENO_VARIABLE = "QATBUILD_CONSOLE"
"""The environment variable with the terminal's file descriptor, or the file's."""

TYPED_VARIABLE = "QATBUILD_CONSOLE_TYPED"
"""The environment variable that is "1" if the descriptor takes typed lines."""

_streams: dict[int, TextIO] = {}


def use(number: int, *, typed: bool) -> None:
    """Makes progress of this process go to a descriptor."""
    os.environ[FILENO_VARIABLE], os.environ[TYPED_VARIABLE] = str(number), "1" if typed else ""


def stream() -> TextIO:
    """Returns the stream for progress: the build's file or terminal, or stderr outside a build."""
    number = int(os.environ.get(FILENO_VARIABLE, "2"))
    if number not in _streams:
        _streams[number] = sys.stderr if number == 2 else _text(number)  # noqa: PLR2004
    return _streams[number]


def _text(number: int) -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(_Terminal(number, "w", closefd=False)), encoding="utf-8")


class _Terminal(io.FileIO):
    """A file whose writes cannot fail: progress that no reader waits for must not end a training."""

    def write(self, data: Any) -> int:
        """Writes what can be written."""
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


def bar(iterable: Any = None, **arguments: Any) -> tqdm:
    """Returns a progress bar with tqdm's arguments: typed lines for a build, a live bar on a terminal.

    In a log it is a line every 10 seconds.
    """
    if _is_typed():
        from qatbuild.worker.typed_bar import TypedBar  # noqa: PLC0415  tqdm takes a tenth of a second to import.

        return TypedBar(iterable, lines=stream(), **arguments)
    from tqdm import tqdm  # noqa: PLC0415

    live = stream().isatty()
    look: dict[str, Any] = {
        "file": stream(),
        "mininterval": 0.1 if live else 10,
        "dynamic_ncols": live,
        "leave": not live,
    }
    return tqdm(iterable, **arguments, **look)


def warn(text: str) -> None:
    """Shows a warning above the progress."""
    if _is_typed():
        stream().write(Warned(text).to_line())
        stream().flush()
    else:
        from tqdm import tqdm  # noqa: PLC0415

        tqdm.write(f"warning: {text}", file=stream())


def _is_typed() -> bool:
    return os.environ.get(TYPED_VARIABLE) == "1"
