"""Results by key: what a request once made can be had again without running it.

A store holds an index, request key -> manifest, and blobs by SHA-256. That is all that a remote one needs as well: two
kinds of names, get and put. It is a shortcut: without it everything is built, and what it gives back is verified.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from qatbuild.exchange.manifest import Manifest


class Store(Protocol):
    """Where results are kept."""

    def text(self, key: str) -> str | None:
        """The text of the manifest that the request with this key left; None if it is not here."""

    def fetch(self, key: str, folder: Path) -> Manifest | None:
        """Puts the artifacts of a request into the empty `folder`; None if they are not all here and intact."""

    def keep(self, key: str, manifest: Manifest) -> None:
        """Keeps the artifacts that a manifest names, and the logs beside them, as the result of a request."""

    def forget(self, key: str) -> None:
        """Have no result for this key any more."""
