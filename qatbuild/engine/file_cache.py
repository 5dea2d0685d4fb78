"""What was found out about files, for as long as they do not change.

A shortcut and nothing else: without it everything is found out again. A value is kept for a path together with the
file's size, mtime, ctime and inode. The ctime cannot be set, so an edit that restores the mtime is a change too; and a
file that was changed a moment ago is not remembered, for a second edit could fall into the same tick of the clock.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from qatbuild.exchange.file_state import TICK_NS, identity

if TYPE_CHECKING:
    import sqlite3


class Memory:
    """Path -> text. Safe to share between threads; processes share it through its file."""

    def __init__(self, path: Path | None = None, table: str = "files") -> None:
        """A memory in the file `path`, or of this process alone."""
        self.path = path
        self._table = table
        self._known: dict[str, tuple[str, str]] = {}
        self._new: set[str] = set()
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None
        self._process = os.getpid()

    def get(self, file: str, status: os.stat_result) -> str | None:
        """What is known of the file, if it still has this status."""
        with self._lock:
            known = self._known.get(file) or self._stored(file)
        return known[1] if known is not None and known[0] == identity(status) else None

    def put(self, file: str, status: os.stat_result, value: str) -> None:
        """Remember; `status` is from before the file was read."""
        if time.time_ns() - status.st_ctime_ns > TICK_NS:
            with self._lock:
                self._known[file] = (identity(status), value)
                self._new.add(file)

    def save(self) -> None:
        """Write what is new. It is no error if that cannot be done."""
        with self._lock:
            if self.path is None or not self._new:
                return
            rows = [(file, *self._known[file]) for file in self._new]
            self._new.clear()
            with self._broken_is_empty():
                connection = self._connection()
                connection.executemany(f"insert or replace into {self._table} values (?, ?, ?)", rows)  # noqa: S608
                connection.commit()

    def _stored(self, file: str) -> tuple[str, str] | None:
        if self.path is None or (self._opened is None and not self.path.exists()):
            return None
        with self._broken_is_empty():
            query = f"select status, value from {self._table} where file = ?"  # noqa: S608  A name of our own.
            row = self._connection().execute(query, (file,)).fetchone()
            if row is not None:
                self._known[file] = row
            return row  # type: ignore[no-any-return]
        return None

    def _connection(self) -> sqlite3.Connection:
        if self._opened is None or self._process != os.getpid():  # A connection must not be used by a fork.
            import sqlite3  # noqa: PLC0415  A build with nothing to do needs none.

            assert self.path is not None
            self._process = os.getpid()
            self._opened = connection = sqlite3.connect(self.path, timeout=10, check_same_thread=False)
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = off")
            columns = "(file text primary key, status text, value text) without rowid"
            connection.execute(f"create table if not exists {self._table} {columns}")
        return self._opened

    @contextlib.contextmanager
    def _broken_is_empty(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
        """A file that is no memory (any more) is removed; one that cannot be used is done without."""
        import sqlite3  # noqa: PLC0415

        try:
            yield
        except sqlite3.OperationalError:
            self._opened, self.path = None, None
        except sqlite3.DatabaseError:
            assert self.path is not None
            self._opened = None
            for name in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    self.path.with_name(self.path.name + name).unlink()
