"""Results by request key, so that a request that ran once need not run again.

A store holds an index (request key -> manifest) and blobs by SHA-256. A remote store would need the same: two kinds of
names, get and put. A store only saves time: without it everything is built, and its results are verified.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from qatbuild.exchange.manifest import Manifest


class Store(Protocol):
    """A place that keeps results."""

    def text(self, key: str) -> str | None:
        """Returns the text of the manifest that the request with this key made; None if it is not kept."""

    def fetch(self, key: str, folder: Path) -> Manifest | None:
        """Puts the artifacts of a request into the empty `folder`; None if one is missing or damaged."""

    def keep(self, key: str, manifest: Manifest) -> None:
        """Keeps the artifacts that a manifest names, and the logs beside them, as the result of a request."""

    def forget(self, key: str) -> None:
        """Removes the result with this key."""
