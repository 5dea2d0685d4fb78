"""doit's file checker and its database.

The files beside the artifacts decide what is up to date (engine/rebuild.py); doit's database only saves time. It is
written while the build runs all the same, so that a killed build loses the last moment at most.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit.dependency import FileChangedChecker, SqliteDB

from qatbuild.engine.file_cache import database_files, free_of_others

if TYPE_CHECKING:
    from qatbuild.engine.digests import Digests


def checker(digests: Digests) -> type[FileChangedChecker]:
    """Returns a class for doit's check_file_uptodate that caches digests in `digests`."""

    class ContentChecker(FileChangedChecker):  # type: ignore[misc]
        """Compares files by SHA-256: a new mtime alone does not count as a change."""

        def check_modified(self, file_path: str, _file_stat: Any, state: str) -> bool:
            return digests.sha256(file_path) != state

        def get_state(self, dep: str, current_state: str | None) -> str | None:
            digest = digests.sha256(dep)
            return None if digest == current_state else digest

    return ContentChecker


_NOWHERE = ":memory:"
"""Used for a file that cannot be opened, as in a read-only folder."""

_LAST = {"deps:", "ignore:"}
"""The keys that doit sets last for a task."""


_WRITE_EVERY_S = 0.2


class WriteThrough(SqliteDB):  # type: ignore[misc]
    """doit's sqlite database in doit's own format, committed at most five times a second.

    What a killed build has not committed costs time only: manifests and requests beside the artifacts are the truth.
    In WAL mode readers do not wait for a build. The file is opened on first use; a build with nothing to do never opens
    it. A broken file is replaced; a file that cannot be opened or written is not used.
    """

    desc = "qatbuild: sqlite, written during a build, safe to read meanwhile"

    def __init__(self, name: str, codec: Any, *, module_name: str | None = None) -> None:  # noqa: ARG002
        """Called by doit; the file is not opened yet."""
        self.name = name
        self.codec = codec
        self._cache: dict[str, dict[str, Any]] = {}
        self._dirty: set[str] = set()
        self._opened: Any = None
        self._written_s = 0.0

    @property
    def _conn(self) -> Any:
        if self._opened is None:
            import sqlite3  # noqa: PLC0415  A build with nothing to do does not need it.

            from doit.dependency import DatabaseException  # noqa: PLC0415

            free_of_others(Path(self.name))
            try:
                self._opened = self._connected(self.name)
            except (sqlite3.DatabaseError, DatabaseException) as fault:
                usable = not isinstance(fault.__context__ or fault, sqlite3.OperationalError)
                self._opened = self._anew() if usable else self._connected(_NOWHERE)
        return self._opened

    def _anew(self) -> Any:
        """Replaces a file that is not a database."""
        for file in database_files(Path(self.name)):
            with contextlib.suppress(OSError):
                file.unlink()
        return self._connected(self.name)

    def _connected(self, name: str) -> Any:
        connection = self._sqlite3(name)
        connection.execute("pragma busy_timeout = 10000")
        connection.execute("pragma journal_mode = wal")
        # What was committed survives a killed process; a file broken by a power cut is replaced.
        connection.execute("pragma synchronous = off")
        return connection

    def set(self, task_id: str, dependency: str, value: Any) -> None:
        """Stores a value; writes all values with the last one of a task, unless that was done a moment ago."""
        super().set(task_id, dependency, value)
        if dependency in _LAST and time.monotonic() - self._written_s >= _WRITE_EVERY_S:
            self._write()

    def _get_task_data(self, task_id: str) -> Any:
        """Called by doit: a task's values; none if the file cannot be read, as on a full disk."""
        import sqlite3  # noqa: PLC0415

        try:
            return super()._get_task_data(task_id)
        except sqlite3.OperationalError:
            return {}

    def remove(self, task_id: str) -> None:
        """Removes a task and commits."""
        import sqlite3  # noqa: PLC0415

        with contextlib.suppress(sqlite3.OperationalError):
            super().remove(task_id)
            self._conn.commit()

    def dump(self) -> None:
        """Writes the remaining values and closes the file."""
        if self._opened is not None or self._dirty:
            self._write()
            self._opened.close()
            self._opened = None

    def _write(self) -> None:
        rows = [(task_id, self.codec.encode(self._cache[task_id])) for task_id in self._dirty]
        import sqlite3  # noqa: PLC0415

        with contextlib.suppress(sqlite3.OperationalError):  # A full disk or a read-only folder costs only time.
            self._conn.executemany("insert or replace into doit values (?, ?)", rows)
            self._conn.commit()
        for task_id in self._dirty:  # doit reads it at most once more, and thousands would take memory.
            del self._cache[task_id]
        self._dirty.clear()
        self._written_s = time.monotonic()
