"""The makers of inputs: the keys of the requests whose results a request takes."""

from __future__ import annotations

from pathlib import Path

from qatbuild.exchange.request import Request

_MOST_KEYS = 5_000
"""Keys that are kept in memory; a build of thousands of models uses most of them within a short time."""


class Makers:
    """Keys by result: those of this process from memory, all others from the records beside the results."""

    def __init__(self) -> None:
        """Begins without a key in memory."""
        self._keys: dict[tuple[str, str], str] = {}

    def remember(self, manifest: Path, sha256: str, key: str) -> None:
        """Takes the key of the request whose result has a manifest with this path and digest."""
        if len(self._keys) >= _MOST_KEYS:
            self._keys.clear()
        self._keys[str(manifest), sha256] = key

    def of(self, request: Request) -> dict[str, str]:
        """Returns the key of the request that made each input, by role; '' without a record of it."""
        made_by = {}
        for role, each in request.inputs.items():
            if (str(each.path), each.sha256) not in self._keys:
                self.remember(each.path, each.sha256, _key_beside(each.path, role))
            made_by[role] = self._keys[str(each.path), each.sha256]
        return made_by


def _key_beside(manifest: Path, stage: str) -> str:
    try:
        return Request.read(Request.path_of(manifest.parent, stage)).key
    except (OSError, ValueError):
        return ""
