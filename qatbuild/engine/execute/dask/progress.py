"""The saved state of a training on another machine, so that another worker goes on from it."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from qatbuild.engine.execute.dask.blobs import Blobs, Content
from qatbuild.engine.execute.dask.parcel import contents
from qatbuild.engine.store.remote import named
from qatbuild.exchange import saved_training
from qatbuild.exchange.files import parse_json, read_text, remove, write_text

_Rows = dict[str, tuple[Path, Content]]
"""Name in the folder -> the file to send, and its content."""


class Progress:
    """The progress of one request: in its work folder, and in an entry of a Remote."""

    def __init__(self, blobs: Blobs, key: str, work: Path) -> None:
        """Begins with what the work folder has; nothing is sent yet."""
        self._blobs = blobs
        self._entry = named(f"progress {key}")
        self._folder = saved_training.folder_of(work)
        self._sent = ""

    def restore(self) -> bool:
        """Fetches the saved state into the work folder; returns whether one was complete. OSError of the server."""
        text = self._blobs.remote.read_entry(self._entry)
        try:
            fields = parse_json(text or "")
            state, files = str(fields["state"]), contents(fields["files"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        if self._blobs.fetch((self._folder / name, each) for name, each in files.items()):
            remove(self._folder)
            return False
        write_text(self._folder / saved_training.STATE, state)
        self._sent = state
        return True

    def save(self) -> bool:
        """Sends the state if it is newer than the last one; returns whether it did. OSError of the server.

        A training that saves again at this moment removes files of the state: the next call sends the newer one.
        """
        state = self._state()
        if state in {"", self._sent}:
            return False
        with tempfile.TemporaryDirectory(dir=self._folder.parent) as draft:
            try:
                rows = {**self._checkpoints(), **self._events(Path(draft))}
                if self._state() != state:
                    return False
                self._blobs.send(rows.values())
            except FileNotFoundError:
                return False
        files = {name: content for name, (_, content) in rows.items()}
        blobs = {each.sha256: each.size_bytes for each in files.values()}
        self._blobs.remote.write_entry(self._entry, json.dumps({"state": state, "files": files}), blobs)
        self._sent = state
        return True

    def forget(self) -> None:
        """Removes the entry: the stage has its result. OSError of the server."""
        if self._sent:
            self._blobs.remote.remove_entry(self._entry)

    def _state(self) -> str:
        try:
            return read_text(self._folder / saved_training.STATE)
        except (OSError, ValueError):
            return ""

    def _checkpoints(self) -> _Rows:
        digests = saved_training.digests(self._folder).items()
        files = ((name, self._folder / name, digest) for name, digest in digests)
        return {name: (file, Content(file.stat().st_size, digest)) for name, file, digest in files}

    def _events(self, draft: Path) -> _Rows:
        """Copies the event files so far, which grow meanwhile."""
        rows = _Rows()
        for file in (self._folder / saved_training.EVENTS).glob("*"):
            copy = Path(shutil.copyfile(file, draft / file.name))
            rows[f"{saved_training.EVENTS}/{file.name}"] = copy, Content.of(copy)
        return rows
