"""Results by request key, so that a request that ran once need not run again.

A store holds entries (request key -> Entry) and blobs by SHA-256: in a folder of this machine (local.py), and with a
cache also on other machines (shared.py). A store only saves time: without it everything is built, and its results are
verified.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from qatbuild.engine.history.origin import Origin
from qatbuild.engine.store.entry import Entry
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request

if TYPE_CHECKING:
    from qatbuild.engine.store.local import LocalStore


class Store(Protocol):
    """A place that keeps results. No method returns a result of a writer that is in quarantine, except `entry`."""

    @property
    def local(self) -> LocalStore:
        """The part of it on this machine."""

    def text(self, key: str) -> str | None:
        """Returns the text of the manifest that the request with this key made; None if it is not kept."""

    def fetch(self, key: str, folder: Path, *, may_stay: bool = False) -> Manifest | None:
        """Puts the artifacts of a request into the empty `folder`; None if one is missing or damaged.

        With `may_stay`, a result whose artifacts are on other machines only is returned without any of them.
        """

    def keep(self, request: Request, manifest: Manifest, origin: Origin) -> Entry:
        """Keeps the artifacts that a manifest names, and the logs beside them, as the result of a request."""

    def forget(self, key: str) -> None:
        """Removes the result with this key from this machine."""

    def entry(self, key: str) -> Entry | None:
        """Returns an entry, also one in quarantine; None if it is not kept, or damaged."""

    def blob(self, sha256: str, size_bytes: int = 0) -> Path | None:
        """Returns a file with this content, which must not be changed; None if it is not kept, or damaged."""

    def keys(self) -> Iterator[str]:
        """Yields the keys of all entries. NotImplementedError for a server that cannot list them."""

    def quarantine(self, writer: str, reason: str) -> None:
        """Distrusts all results of a writer, by its id, here and for all who use the store."""

    def is_quarantined(self, entry: Entry) -> bool:
        """Returns whether a result is of a writer that is not trusted."""

    def finish(self) -> None:
        """Waits for what is under way. Call it at the end of a build."""
