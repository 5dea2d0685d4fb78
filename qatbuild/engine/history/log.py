"""The log of a build folder: the origin of every result that was published in it, also of those overwritten since.

A line is KEYS SECONDS ORIGINS and a full stop: the keys joined by commas, their origins compressed together, because
those of one build are much alike. Lines are only appended, each with one write, so builds side by side and killed ones
leave whole lines; a line that was cut off is skipped. The first line with a key counts.
"""

from __future__ import annotations

import base64
import contextlib
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple

from qatbuild.engine.history.origin import Origin
from qatbuild.exchange.files import check_regular, make_folder, make_way, write_text

_END = "."

_MOST_IN_LINE = 256
_MOST_WAITING_NS = 1_000_000_000
"""What a killed build can lose of the log. Its results are still on the disk then, with their records."""

_LEVEL = 1
"""The others take longer, and save nothing that is felt."""


class _Line(NamedTuple):
    keys: tuple[str, ...]
    at: int
    packed: str


class Row(NamedTuple):
    """One result in the log: `at` is when it was published, in seconds since the epoch."""

    key: str
    at: int
    line: _Line

    def origin(self) -> Origin | None:
        """Returns the origin; None if the line is damaged."""
        with contextlib.suppress(ValueError):
            origin = Origin.parse(_texts(self.line)[self.key])
            if origin.request.key == self.key:
                return origin
        return None


class OriginLog:
    """Origins by key, in a file. A log that cannot be written or read only costs explanations. Threads may share it."""

    def __init__(self, path: Path) -> None:
        """Opens the log in a file, which is created for the first origin."""
        self.path = path
        self._waiting: dict[str, str] = {}
        self._waiting_since_ns = 0
        self._lock = threading.Lock()

    def keep(self, origin: Origin) -> None:
        """Takes an origin, unless its key is in the log: the line is written with the next ones, or by `flush`."""
        key = origin.request.key
        with self._lock:
            if hash(key) in self._kept:
                return
            self._kept.add(hash(key))
            if not self._waiting:
                self._waiting_since_ns = time.monotonic_ns()
            self._waiting[key] = origin.text
            is_due = time.monotonic_ns() - self._waiting_since_ns > _MOST_WAITING_NS
            if is_due or len(self._waiting) >= _MOST_IN_LINE:
                self._flush()

    def has(self, key: str) -> bool:
        """Returns whether a result is in the log."""
        return hash(key) in self._kept

    def flush(self) -> None:
        """Writes the origins that wait for further ones."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            with contextlib.suppress(OSError):
                self._append(_line(self._waiting, int(time.time())))
            self._waiting = {}

    @cached_property
    def _kept(self) -> set[int]:
        """The hashes of the keys in the log: a build of thousands of models holds them in memory."""
        return {hash(key) for line in self._read() for key in line.keys}

    def origin(self, key: str) -> Origin | None:
        """Returns the origin of a result; None if it is not in the log."""
        row = self.rows.get(key)
        return None if row is None else row.origin()

    def drop(self, is_old: Callable[[Row], bool]) -> None:
        """Removes old results. OSError if the file cannot be written."""
        rest = [row for row in self.rows.values() if not is_old(row)]
        lines = []
        for line, rows in groupby(rest, lambda row: row.line):
            with contextlib.suppress(ValueError):
                texts = _texts(line)
                lines.append(_line({row.key: texts[row.key] for row in rows}, line.at))
        write_text(self.path, "".join(lines))
        del self.rows

    @cached_property
    def rows(self) -> dict[str, Row]:
        """The results by key, oldest first, as first read."""
        rows: dict[str, Row] = {}
        for line in self._read():
            for key in line.keys:
                rows.setdefault(key, Row(key, line.at, line))
        return rows

    def _read(self) -> Iterator[_Line]:
        """Yields the lines that are whole."""
        with contextlib.suppress(OSError), _opened(self.path, os.O_RDONLY) as file:
            check_regular(file.fileno(), self.path)
            for row in file:
                with contextlib.suppress(ValueError):
                    keys, at, packed = row.decode().split()
                    if packed.endswith(_END):
                        yield _Line(tuple(keys.split(",")), int(at), packed.removesuffix(_END))

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


def _line(texts: dict[str, str], at: int) -> str:
    """Returns a line with its end, which one that was cut off lacks, and the break before it, which keeps it whole."""
    packed = base64.b64encode(zlib.compress("\n".join(texts.values()).encode(), _LEVEL)).decode()
    return f"\n{','.join(texts)} {at} {packed}{_END}"


def _texts(line: _Line) -> dict[str, str]:
    """Returns the origins of a line as JSON, by key; ValueError for a damaged one."""
    try:
        texts = zlib.decompress(base64.b64decode(line.packed)).decode().split("\n")
    except zlib.error as fault:
        raise ValueError(f"not origins: {fault}") from fault
    return dict(zip(line.keys, texts, strict=True))
