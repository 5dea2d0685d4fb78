"""Files by their content, sent to and fetched from a Remote; what arrives is compared with its digest."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.store.place import place
from qatbuild.engine.store.remote import Remote
from qatbuild.exchange.files import discard, file_sha256, make_folder
from qatbuild.exchange.lock import held

_FREE = 0.1
"""The part of a worker's disk that is left free for what stages write."""

_DIGITS = 64
"""Of a SHA-256, which is a blob's name."""

_AT_ONCE = 8
"""Transfers side by side: most files are small, and each waits for the server's answer."""


class Content(NamedTuple):
    """The content of a file: its bytes and their SHA-256."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, file: Path) -> Content:
        """Reads a file."""
        return cls(file.stat().st_size, file_sha256(file))


Contents = Mapping[str, Content]
"""Path or name -> content."""


class Blobs:
    """The blobs of a Remote. Threads may share it. OSError if the server cannot be reached."""

    def __init__(self, remote: Remote) -> None:
        """Begins with nothing sent."""
        self.remote = remote
        self._sent = set[str]()

    def send(self, files: Iterable[tuple[Path, Content]], *, again: bool = False) -> None:
        """Sends those files that the server lacks; with `again` all, because a worker did not get them."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda row: self._send(*row, again=again), files))

    def _send(self, file: Path, content: Content, *, again: bool) -> None:
        digest = content.sha256
        if again or (digest not in self._sent and not self.remote.has_blob(digest)):
            self.remote.write_blob(digest, file)
        self._sent.add(digest)

    def send_text(self, text: str, *, again: bool = False) -> Content:
        """Sends a text as `send` does, and returns its content."""
        data = text.encode()
        content = Content(len(data), hashlib.sha256(data).hexdigest())
        with tempfile.NamedTemporaryFile() as draft:
            draft.write(data)
            draft.flush()
            self.send([(Path(draft.name), content)], again=again)
        return content

    def fetch(self, targets: Iterable[tuple[Path, Content]]) -> list[str]:
        """Writes blobs to new files; returns the digests of those that are absent or damaged."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(filter(None, pool.map(lambda row: self._fetch(*row), targets)))

    def _fetch(self, target: Path, content: Content) -> str:
        discard(target)
        make_folder(target.parent)
        if self.remote.read_blob(content.sha256, target, content.size_bytes) and file_sha256(target) == content.sha256:
            return ""
        discard(target)
        return content.sha256


class Shelf:
    """Blobs in a folder of a worker: the stages of a sweep read the same dataset, which is fetched once.

    The folder goes with the Dask worker. A blob is compared with its digest whenever it is used, because a stage has
    the same file under another name.
    """

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        """Makes a shelf; its folder is created for the first blob."""
        self._folder = folder
        self._blobs = blobs

    def put(self, targets: Iterable[tuple[Path, Content]]) -> list[str]:
        """Gives each target, which must not exist, its content; returns the digests of what the server lacks."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(filter(None, pool.map(lambda row: self._put(*row), targets)))

    def make_room(self) -> None:
        """Removes all blobs if the disk is nearly full. The stages that run now have their files under other names."""
        make_folder(self._folder)
        disk = shutil.disk_usage(self._folder)
        if disk.free < _FREE * disk.total:
            for part in self._folder.iterdir():
                with held(part / "lock"):
                    for blob in part.glob("?" * _DIGITS):
                        discard(blob)

    def _put(self, target: Path, content: Content) -> str:
        blob = self._folder / content.sha256[:2] / content.sha256
        with held(blob.parent / "lock"):
            if not blob.is_file() and self._blobs.fetch([(blob, content)]):
                return content.sha256
            place(blob, target)
            if file_sha256(target) == content.sha256:
                return ""
            discard(blob)
            discard(target)
        return self._put(target, content)
