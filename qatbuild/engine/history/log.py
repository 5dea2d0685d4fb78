"""The log of a build folder: the origin of every result that was published in it, also of those overwritten since.

A line is KEY SECONDS ORIGIN and a full stop. Lines are only appended, each with one write, so builds side by side and
killed ones leave whole lines; a line that was cut off is skipped. The first line of a key counts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

from qatbuild.engine.history.origin import Origin
from qatbuild.exchange.files import check_regular, make_folder, make_way, write_text

_END = "."


class Line(NamedTuple):
    """One line of the log: `at` is when the result was published, in seconds since the epoch."""

    key: str
    at: int
    packed: str

    def origin(self) -> Origin | None:
        """Returns the origin; None if the line is damaged."""
        with contextlib.suppress(ValueError):
            origin = Origin.unpacked(self.packed)
            if origin.request.key == self.key:
                return origin
        return None


class OriginLog:
    """Origins by key, in a file. A log that cannot be written or read only costs explanations."""

    def __init__(self, path: Path) -> None:
        """Opens the log in a file, which is created for the first origin."""
        self.path = path

    def keep(self, origin: Origin) -> None:
        """Appends an origin, unless its key is in the log."""
        line = Line(origin.request.key, int(time.time()), origin.packed())
        if _short(line) not in self._kept:
            self._kept.add(_short(line))
            with contextlib.suppress(OSError):
                self._append(_text(line))

    @cached_property
    def _kept(self) -> set[int]:
        """The keys in the log, shortened: a build of thousands of models holds them in memory."""
        return {_short(line) for line in self._read()}

    def origin(self, key: str) -> Origin | None:
        """Returns the origin of a result; None if it is not in the log."""
        line = self.lines.get(key)
        return None if line is None else line.origin()

    def drop(self, is_old: Callable[[Line], bool]) -> None:
        """Removes old lines. OSError if the file cannot be written."""
        remaining = [line for line in self.lines.values() if not is_old(line)]
        write_text(self.path, "".join(map(_text, remaining)))
        self.lines = {line.key: line for line in remaining}

    @cached_property
    def lines(self) -> dict[str, Line]:
        """The lines by key, oldest first, as first read."""
        lines: dict[str, Line] = {}
        for line in self._read():
            lines.setdefault(line.key, line)
        return lines

    def _read(self) -> Iterator[Line]:
        """Yields the lines that are whole."""
        with contextlib.suppress(OSError), _opened(self.path, os.O_RDONLY) as file:
            check_regular(file.fileno(), self.path)
            for row in file:
                with contextlib.suppress(ValueError):
                    key, at, packed = row.decode().split()
                    if packed.endswith(_END):
                        yield Line(key, int(at), packed.removesuffix(_END))

    def _append(self, text: str) -> None:
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        try:
            file = _opened(self.path, how)
        except OSError:
            make_folder(self.path.parent)
            make_way(self.path)
            file = _opened(self.path, how)
        with file:
            file.write(text.encode())


def _opened(path: Path, how: int) -> BinaryIO:
    """Opens a file without a buffer for what is written. O_NONBLOCK: a FIFO would wait for its other end."""
    descriptor = os.open(path, how | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    return os.fdopen(descriptor, "ab", buffering=0) if how & os.O_APPEND else os.fdopen(descriptor, "rb")


def _text(line: Line) -> str:
    """Returns a line with its end, which one that was cut off lacks, and the break before it, which keeps it whole."""
    return f"\n{line.key} {line.at} {line.packed}{_END}"


def _short(line: Line) -> int:
    return hash(line.key)
