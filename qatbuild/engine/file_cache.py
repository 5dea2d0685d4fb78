"""Caches values computed from files, as long as the files do not change.

It only saves time: without it, values are computed again. A value is stored with the path and the state of the file
(exchange/file_state.py). The value of a file that changed a moment ago is not stored, because a second change could
happen within the same tick of the clock.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from qatbuild.exchange.file_state import identity, is_settled
from qatbuild.exchange.files import make_way

if TYPE_CHECKING:
    import sqlite3

_WRITE_EVERY_S = 1.0
_MOST_ROWS = 5_000
"""Rows that are also kept in memory. Even a build of thousands of models uses most files within a short time."""


def database_files(path: Path) -> list[Path]:
    """Returns the files of an SQLite database, each of which it may open."""
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal")]


def free_of_others(path: Path) -> None:
    """Removes what is no file from the places of an SQLite database: reading a FIFO would never end."""
    for file in database_files(path):
        with contextlib.suppress(OSError):  # Then it cannot be opened either, and is not used.
            make_way(file)


class FileCache:
    """Path -> text. Safe to share between threads; processes share it through its file."""

    def __init__(self, path: Path | None = None, table: str = "files") -> None:
        """Opens the cache in the file `path`; None: a cache in memory."""
        self.path = path
        self._table = table
        self._rows: dict[str, tuple[str, str]] = {}
        self._unsaved: set[str] = set()
        self._saved_s = time.monotonic()
        self._began_ns = time.time_ns()
        """Since when every row that this process has written is in memory, too."""
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None
        self._process = os.getpid()

    def get(self, file: str, status: os.stat_result) -> str | None:
        """Returns the value of a file, if the file still has this status."""
        with self._lock:
            row = self._rows.get(file)
            if row is None and status.st_ctime_ns < self._began_ns:  # The file can hold no row of a newer state.
                row = self._stored(file)
        return row[1] if row is not None and row[0] == identity(status) else None

    def put(self, file: str, status: os.stat_result, value: str) -> None:
        """Keeps a value; `status` is from before the file was read."""
        if is_settled(status.st_ctime_ns, time.time_ns()):
            with self._lock:
                self._rows[file] = (identity(status), value)
                self._unsaved.add(file)

    def save(self) -> None:
        """Writes new values. A failure only costs time."""
        with self._lock:
            self._saved_s = time.monotonic()
            if self.path is None or not self._unsaved:
                return
            rows = [(file, *self._rows[file]) for file in self._unsaved]
            self._unsaved.clear()
            with self._broken_is_empty():
                connection = self._connection()
                connection.executemany(f"insert or replace into {self._table} values (?, ?, ?)", rows)  # noqa: S608
                connection.commit()
                if len(self._rows) > _MOST_ROWS:
                    self._rows.clear()
                    self._began_ns = time.time_ns()

    def save_if_due(self) -> None:
        """Writes new values, at most once a second."""
        if time.monotonic() - self._saved_s >= _WRITE_EVERY_S:
            self.save()

    def _stored(self, file: str) -> tuple[str, str] | None:
        if self.path is None or (self._opened is None and not self.path.exists()):
            return None
        with self._broken_is_empty():
            query = f"select status, value from {self._table} where file = ?"  # noqa: S608  Its names are ours.
            row = self._connection().execute(query, (file,)).fetchone()
            if row is not None:
                if len(self._rows) > _MOST_ROWS and not self._unsaved:
                    self._rows.clear()
                self._rows[file] = row
            return row  # type: ignore[no-any-return]
        return None

    def _connection(self) -> sqlite3.Connection:
        if self._opened is None or self._process != os.getpid():  # A connection must not be used by a fork.
            import sqlite3  # noqa: PLC0415  A build with nothing to do needs no database.

            assert self.path is not None
            free_of_others(self.path)
            self._process = os.getpid()
            self._opened = connection = sqlite3.connect(self.path, timeout=10, check_same_thread=False)
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = off")
            columns = "(file text primary key, status text, value text) without rowid"
            connection.execute(f"create table if not exists {self._table} {columns}")
        return self._opened

    @contextlib.contextmanager
    def _broken_is_empty(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
        """Removes a file that is not a database; ignores one that cannot be used."""
        import sqlite3  # noqa: PLC0415

        try:
            yield
        except sqlite3.OperationalError:
            self._opened, self.path = None, None
        except sqlite3.DatabaseError:
            assert self.path is not None
            self._opened = None
            for file in database_files(self.path):
                with contextlib.suppress(OSError):
                    file.unlink()
