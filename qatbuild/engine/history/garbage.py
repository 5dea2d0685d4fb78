"""Removes origins of results that are gone and were made long ago, and code that no origin refers to any more."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

from qatbuild.engine.history.code_archive import CodeArchive
from qatbuild.engine.history.log import OriginLog, Row
from qatbuild.engine.state_folder import StateFolder


class OldOrigins:
    """The origins of a build folder that were published before `oldest` (seconds since the epoch) and not `needed`."""

    def __init__(self, build: Path, oldest: float, needed: Collection[str]) -> None:
        """Reads the log; `needed` are the keys of results that are still there."""
        state = StateFolder.of(build)
        self._log, self._code = OriginLog(state.origins), CodeArchive(state.code)
        self._oldest = oldest
        self._needed = needed

    def __bool__(self) -> bool:
        """Returns whether there are any."""
        return any(map(self._is_old, self._log.rows.values()))

    def remove(self) -> None:
        """Removes them, and the code that only they refer to. Hold the build lock. A failure only costs space."""
        with contextlib.suppress(OSError):
            self._log.drop(self._is_old)
            origins = filter(None, (row.origin() for row in self._log.rows.values()))
            self._code.keep_only({origin.request.code for origin in origins})

    def _is_old(self, row: Row) -> bool:
        return row.at <= self._oldest and row.key not in self._needed
