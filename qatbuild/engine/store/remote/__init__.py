"""Results on other machines: blobs by the SHA-256 of their bytes, and entries (small JSON texts) by key.

Every server that keeps bytes by name can hold them: an object store, a WebDAV folder, a cache of Bazel's. Their layout
is the same (layout.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote

from qatbuild.exchange.errors import SpecError

if TYPE_CHECKING:
    from qatbuild.engine.store.remote.retrying import Retrying


class Remote(Protocol):
    """A place that several machines reach. RemoteError for what it cannot do, OSError for a fault of this machine."""

    @property
    def place(self) -> str:
        """What people call it: its URL, without credentials."""

    def read_blob(self, sha256: str, target: Path, size_bytes: int) -> bool:
        """Writes a blob to `target`, from where a partial file ends; returns False if it is absent.

        The caller compares the bytes with the digest.
        """

    def write_blob(self, sha256: str, source: Path) -> None:
        """Keeps a file's content. A reader sees all of it or nothing; writing it twice is harmless."""

    def has_blob(self, sha256: str) -> bool:
        """Returns whether a blob is kept."""

    def read_entry(self, key: str) -> str | None:
        """Returns the text of an entry; None if it is absent."""

    def write_entry(self, key: str, text: str, blobs: Mapping[str, int]) -> None:
        """Keeps a text under a key. `blobs` are those that it refers to: SHA-256 -> bytes, all kept already."""

    def remove_entry(self, key: str) -> None:
        """Removes an entry; its blobs stay."""

    def entries(self) -> Iterator[str]:
        """Yields the keys of all entries. NotImplementedError for a server that cannot list them."""


class Cause(StrEnum):
    """Why a remote store did not do what it was asked."""

    PASSING = "passing"
    """Another attempt may succeed: a cut transfer, an overloaded server."""
    UNREACHABLE = "unreachable"
    """No connection, or no answer in time."""
    FORBIDDEN = "forbidden"
    """The credentials are missing or do not suffice."""
    NO_WRITING = "no writing"
    """It can be read but takes nothing: full, or read-only."""
    OTHER = "other"


class RemoteError(OSError):
    """A remote store did not do what it was asked. The text has no credentials."""

    def __init__(self, reason: str, cause: Cause = Cause.OTHER) -> None:
        """Makes an error with a reason for people."""
        super().__init__(reason)
        self.cause = cause


class Limits(NamedTuple):
    """How long a remote store may take.

    `timeout_s` is for a connection, and for the next bytes; `attempts` are those of one operation, with pauses that
    begin at `pause_s` and double; `lost_s` is the time of a build in failed attempts after which the store is given up.
    """

    timeout_s: float = 10.0
    attempts: int = 4
    pause_s: float = 0.25
    lost_s: float = 30.0


def connect(url: str, limits: Limits | None = None) -> Retrying:
    """Returns the store at a URL or path: http(s) by WebDAV or to bazel-remote, file, or any scheme of fsspec.

    Nothing is sent yet. Credentials come from the environment (credentials.py). SpecError for a URL that leads nowhere:
    an unknown scheme, or a package that is missing.
    """
    from qatbuild.engine.store.remote.retrying import Retrying  # noqa: PLC0415  Several need only the protocol.

    limits = limits or Limits()
    return Retrying(_opened(url, limits), limits)


def _opened(url: str, limits: Limits) -> Remote:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        from qatbuild.engine.store.remote.folder import FolderRemote  # noqa: PLC0415

        return FolderRemote(Path(unquote(rest) if separator else url))
    if scheme in {"http", "https"}:
        from qatbuild.engine.store.remote.http import HttpRemote  # noqa: PLC0415

        return HttpRemote(url, limits.timeout_s)
    try:
        from qatbuild.engine.store.remote.filesystem import FilesystemRemote  # noqa: PLC0415
    except ImportError as fault:
        facts = [("cache", url), ("scheme", scheme), ("missing", fault.name)]
        raise SpecError("The cache's URL needs fsspec.", facts, "pip install 'qatbuild[remote]'") from fault
    return FilesystemRemote(url, limits.timeout_s)


def named(text: str) -> str:
    """Returns the key of an entry that is no stage's result, such as the list of writers that are not trusted."""
    return hashlib.sha256(f"qatbuild {text}".encode()).hexdigest()
