"""A store with results on other machines: what is not here is fetched, and what is built here is uploaded.

Bytes that arrive are compared with their digest before anything uses them. No fault of the other machine fails a build:
it is said once, on stderr, and the stage is built.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path

from qatbuild.engine.history.code_archive import CodeArchive
from qatbuild.engine.history.origin import Origin
from qatbuild.engine.state_folder import StateFolder
from qatbuild.engine.store.code import SharedCode
from qatbuild.engine.store.entry import Entry
from qatbuild.engine.store.local import LocalStore
from qatbuild.engine.store.partial import claimed
from qatbuild.engine.store.remote import Cause, Remote, RemoteError, named
from qatbuild.engine.store.transfers import Transfers
from qatbuild.engine.store.uploads import Uploads
from qatbuild.exchange.errors import printable
from qatbuild.exchange.files import file_sha256, parse_json
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.published import undigested
from qatbuild.exchange.request import Request

_MOST_ENTRIES = 256
"""Entries of the other machine that are kept in memory: between the question whether one exists and its use."""

QUARANTINE = named("quarantine")
"""The key under which all users of a remote store find the writers that are not trusted."""


class SharedStore:
    """Results in a local store, and behind it a remote one."""

    def __init__(
        self,
        local: LocalStore,
        remote: Remote,
        partial: Path,
        *,
        is_written: bool,
        say: Callable[[str], object] | None = None,
    ) -> None:
        """Makes a store that keeps cut transfers in the folder `partial`, and uploads if it `is_written`.

        `say` receives each complaint about the remote store once; by default stderr.
        """
        self.local = local
        self.remote = remote
        self.code = SharedCode(remote)
        self._partial = partial
        self._takes_nothing = not is_written
        self._say = say or sys.stderr.write
        self._said = set[str]()
        self._entries: dict[str, Entry] = {}
        self._refused = set[str]()
        """SHA-256 of blobs of which the remote store has other bytes: they are written again."""
        self._lock = threading.Lock()
        self._downloads = Transfers("fetching")
        self._uploads = Uploads(partial / "uploads", self._upload, local.entry) if is_written else None

    def text(self, key: str) -> str | None:
        """See Store."""
        entry = self._trusted(key)
        return None if entry is None else entry.text

    def fetch(self, key: str, folder: Path, *, may_stay: bool = False) -> Manifest | None:
        """See Store. OSError if a file cannot be written on this machine."""
        entry = self._trusted(key)
        if entry is None:
            return None
        manifest = self.local.fetch(key, folder)
        if manifest is not None:
            return manifest
        manifest = entry.manifest(folder)
        if may_stay and not undigested(manifest):
            return manifest
        for _ in range(2):  # Again for a blob of this machine that turned out to be damaged.
            if not self._bring(entry):
                return None
            self.local.enter(entry)
            manifest = self.local.fetch(key, folder)
            if manifest is not None:
                return manifest
        return None

    def keep(self, request: Request, manifest: Manifest, origin: Origin) -> Entry:
        """See Store. The upload goes on while further stages are built."""
        entry = self.local.keep(request, manifest, origin)
        self._entries.pop(entry.key, None)
        if self._uploads is not None:
            self._uploads.start(entry)
        return entry

    def forget(self, key: str) -> None:
        """See Store. Others may need it: on the other machine it stays."""
        self.local.forget(key)

    def entry(self, key: str) -> Entry | None:
        """See Store."""
        return self.local.entry(key) or self.remote_entry(key)

    def blob(self, sha256: str, size_bytes: int = 0) -> Path | None:
        """See Store."""
        return self.local.blob(sha256) or self._brought(sha256, size_bytes, "")

    def keys(self) -> Iterator[str]:
        """See Store."""
        remote: Iterable[str] = ()
        with self._complaining():
            remote = self.remote.entries()
        return iter(dict.fromkeys(chain(self.local.keys(), remote)))

    def quarantine(self, writer: str, reason: str) -> None:
        """See Store. With a remote store that is only read, or takes nothing, it holds on this machine only."""
        self.local.quarantine(writer, reason)
        if not self._takes_nothing:
            with self._complaining():
                self._distrusted.update({**self._read_distrusted(), writer: reason})
                self.remote.write_entry(QUARANTINE, json.dumps({"writers": self._distrusted}), {})

    def is_quarantined(self, entry: Entry) -> bool:
        """See Store."""
        return self.local.is_quarantined(entry) or entry.writer.id in self._distrusted

    def finish(self) -> None:
        """See Store. What an interrupt leaves is uploaded by the next build that makes something."""
        if self._uploads is None:
            return
        try:
            self._uploads.finish()
        finally:
            if left := self._uploads.left:
                self._complain("left", f"does not have {left} results yet. The next build uploads them.")

    def _trusted(self, key: str) -> Entry | None:
        distrusted = self._distrusted  # Before anything is used that is here already.
        entry = self.entry(key)
        is_trusted = entry is not None and entry.writer.id not in distrusted and not self.local.is_quarantined(entry)
        return entry if is_trusted else None

    def remote_entry(self, key: str) -> Entry | None:
        """Returns the entry of the remote store, whatever is here; None if it has none, or a damaged one."""
        if (entry := self._entries.get(key)) is not None:
            return entry
        with self._complaining():
            try:
                text = self.remote.read_entry(key)
                entry = None if text is None else Entry.parse(key, text)
            except ValueError:
                self._refuse(key, "an answer that is no entry")
        if entry is not None:
            with self._lock:
                if len(self._entries) >= _MOST_ENTRIES:
                    self._entries.clear()
                self._entries[key] = entry
        return entry

    def _bring(self, entry: Entry) -> bool:
        """Fetches the blobs of an entry that are not here; returns whether all are here now."""
        missing = [(digest, size) for digest, size in entry.blobs.items() if not self.local.has(digest)]
        transfers = [
            self._downloads.start(
                lambda digest=digest, size=size: self._brought(digest, size, entry.key),  # type: ignore[misc]
                size,
                self._partial / digest,
            )
            for digest, size in missing
        ]
        arrived = self._downloads.finish(transfers)
        return None not in arrived

    def _brought(self, sha256: str, size_bytes: int, key: str) -> Path | None:
        """Fetches a blob into the local store; None if it is absent, has other bytes, or the server fails."""
        with self._complaining(), claimed(self._partial / sha256) as file:
            for is_resumed in (True, False):
                if is_resumed and not _bytes(file):
                    continue
                if not is_resumed:
                    file.unlink(missing_ok=True)
                if not self.remote.read_blob(sha256, file, size_bytes):
                    file.unlink(missing_ok=True)
                    return None
                if file_sha256(file) == sha256:
                    return self.local.move_in(file, sha256)
            file.unlink(missing_ok=True)
            self._refused.add(sha256)
            self._refuse(key or sha256, "other bytes than its digest says")
        return None

    def _upload(self, entry: Entry) -> bool:
        """Uploads a result, the entry last, so that no reader finds it without its blobs; returns whether it is done.

        An entry whose blobs were edited here meanwhile is done: there is nothing to upload.
        """
        with self._complaining():
            if self._takes_nothing:
                return False
            for sha256 in entry.blobs:
                if sha256 in self._refused or not self.remote.has_blob(sha256):
                    blob = self.local.blob(sha256)
                    if blob is None:
                        return True
                    self.remote.write_blob(sha256, blob)
                    self._refused.discard(sha256)
            self.remote.write_entry(entry.key, entry.to_json(), entry.blobs)
            if entry.origin is not None:
                self.code.send(entry.origin.request.code, CodeArchive(StateFolder.of(self.local.build).code))
            return True
        return False

    @cached_property
    def _distrusted(self) -> dict[str, str]:
        with self._complaining():
            distrusted = self._read_distrusted()
            self._withdraw({writer: distrusted[writer] for writer in distrusted.keys() - self.local.distrusted.keys()})
            return distrusted
        return {}

    def _withdraw(self, writers: Mapping[str, str]) -> None:
        """Gives up what this machine has of writers that others have found not to be trusted."""
        if writers:
            from qatbuild.engine.store.withdrawal import withdraw  # noqa: PLC0415  Hardly ever.

            stages = withdraw(self.local, writers, self.entry)
            for writer, reason in writers.items():  # Last: what is cut off goes on in the next build.
                self.local.quarantine(writer, reason)
            self._say(f"{stages} results came from writers that are not trusted any more, and are built again.\n")

    def _read_distrusted(self) -> dict[str, str]:
        try:
            writers = parse_json(self.remote.read_entry(QUARANTINE) or "{}").get("writers", {})
            return {str(writer): str(reason) for writer, reason in writers.items()}
        except (ValueError, AttributeError):
            self._refuse(QUARANTINE, "an answer that is no list of writers")
            return {}

    def _refuse(self, key: str, what: str) -> None:
        self._complain(key, f"has {what}, for the key {key}: not used.")

    @contextlib.contextmanager
    def _complaining(self) -> Iterator[None]:
        """Says what a remote store cannot do, and goes on."""
        try:
            yield
        except RemoteError as fault:
            if fault.cause is Cause.NO_WRITING:
                self._takes_nothing = True
                self._complain("upload", f"takes no results: {fault}. Nothing more is uploaded.")
            else:
                self._complain("down", f"does not work: {fault}. The build goes on without it.")

    def _complain(self, about: str, text: str) -> None:
        with self._lock:
            is_new = about not in self._said
            self._said.add(about)
        if is_new:
            self._say(f"{printable(f'The cache {self.remote.place} {text}')}\n")


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
