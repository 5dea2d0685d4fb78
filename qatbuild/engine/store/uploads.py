"""Results that are uploaded while the build goes on. What one build leaves, the next one uploads."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from qatbuild.engine.store.entry import Entry
from qatbuild.engine.store.transfers import Transfer, Transfers
from qatbuild.exchange.files import make_folder


class Uploads:
    """The uploads of one build. The folder has an empty file for each result that is not uploaded yet, by its key."""

    def __init__(self, folder: Path, upload: Callable[[Entry], bool], entry_of: Callable[[str], Entry | None]) -> None:
        """Makes the uploads; `upload` does one, in any thread, and returns whether it is done.

        `entry_of` returns what is kept under a key: with the first upload, those begin that earlier builds have left.
        """
        self._folder = folder
        self._upload = upload
        self._entry_of = entry_of
        self._transfers = Transfers("uploading")
        self._running: list[Transfer[bool]] = []
        self._lock = threading.Lock()
        self._left = list(folder.glob("*"))

    def start(self, entry: Entry) -> None:
        """Begins an upload, and those that are left."""
        with self._lock:
            left, self._left = self._left, []
        for file in left:
            if (former := self._entry_of(file.name)) is not None:
                self._start(former)
            else:  # It was removed meanwhile.
                self._forget(file)
        self._start(entry)

    def _start(self, entry: Entry) -> None:
        file = self._folder / entry.key
        with contextlib.suppress(OSError):  # Then only this build uploads it.
            make_folder(self._folder)
            file.touch()
        transfer = self._transfers.start(lambda: self._done(entry, file), sum(entry.blobs.values()))
        with self._lock:
            self._running = [*(each for each in self._running if not each.done()), transfer]

    def _done(self, entry: Entry, file: Path) -> bool:
        is_done = self._upload(entry)
        if is_done:
            self._forget(file)
        return is_done

    @staticmethod
    def _forget(file: Path) -> None:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)

    def finish(self) -> None:
        """Waits for all uploads, unless the build was interrupted. An interrupt that comes now cancels the rest."""
        if not isinstance(sys.exception(), KeyboardInterrupt):
            self._transfers.finish(self._running)

    @property
    def left(self) -> int:
        """How many results are not uploaded because of an interrupt."""
        return sum(each.cancelled() or not each.done() for each in self._running)
