"""How doit knows a file again: by its content, hashed once however many tasks read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from doit.dependency import FileChangedChecker

from qatbuild.artifact import Digests


def checker(digests: Digests) -> type[FileChangedChecker]:
    """A checker class for doit's check_file_uptodate that remembers digests in `digests`."""

    class ContentChecker(FileChangedChecker):  # type: ignore[misc]
        """A file has changed if its SHA-256 has; a new mtime alone is no change."""

        def check_modified(self, file_path: str, _file_stat: Any, state: str) -> bool:
            return digests.sha256(Path(file_path)) != state

        def get_state(self, dep: str, current_state: str | None) -> str | None:
            digest = digests.sha256(Path(dep))
            return None if digest == current_state else digest

    return ContentChecker
