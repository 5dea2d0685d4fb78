"""A remote store in a folder that several machines have mounted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from qatbuild.engine.store.remote import Cause, RemoteError, layout
from qatbuild.engine.store.remote.action_result import packed, unpacked
from qatbuild.exchange.files import make_folder, read_text

_CHUNK_BYTES = 1 << 20


class FolderRemote:
    """Blobs and entries as files below a folder, which is made for the first one."""

    def __init__(self, root: Path) -> None:
        """Opens the store in a folder."""
        self.root = root.expanduser().absolute()

    @property
    def place(self) -> str:
        """See Remote."""
        return str(self.root)

    def read_blob(self, sha256: str, target: Path, size_bytes: int) -> bool:  # noqa: ARG002  It is the file's.
        """See Remote."""
        with self._faults():
            try:
                source = (self.root / layout.blob(sha256)).open("rb")
            except FileNotFoundError:
                return False
        with source, target.open("ab") as sink:
            source.seek(sink.tell())
            while chunk := self._chunk(source.fileno()):
                sink.write(chunk)
        return True

    def _chunk(self, descriptor: int) -> bytes:
        with self._faults():
            return os.read(descriptor, _CHUNK_BYTES)

    def write_blob(self, sha256: str, source: Path) -> None:
        """See Remote."""
        with source.open("rb") as content:
            self._write(self.root / layout.blob(sha256), iter(lambda: content.read(_CHUNK_BYTES), b""))

    def has_blob(self, sha256: str) -> bool:
        """See Remote."""
        with self._faults():
            return (self.root / layout.blob(sha256)).is_file()

    def read_entry(self, key: str) -> str | None:
        """See Remote."""
        with self._faults():
            try:
                text = read_text(self.root / layout.entry(key))
            except FileNotFoundError:
                return None
        return unpacked(text)

    def write_entry(self, key: str, text: str, blobs: Mapping[str, int]) -> None:
        """See Remote."""
        self._write(self.root / layout.entry(key), iter([packed(text, blobs).encode()]))

    def _write(self, path: Path, chunks: Iterator[bytes]) -> None:
        """Writes a file under another name, and renames it: other machines see it whole."""
        draft = path.with_name(f".draft-{os.urandom(8).hex()}")
        try:
            with self._faults(Cause.NO_WRITING):
                make_folder(path.parent)
                sink = draft.open("xb")
            with sink:
                for chunk in chunks:
                    with self._faults(Cause.NO_WRITING):
                        sink.write(chunk)
                with self._faults(Cause.NO_WRITING):
                    sink.flush()
                    os.fsync(sink.fileno())
            with self._faults(Cause.NO_WRITING):
                draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise

    def remove_entry(self, key: str) -> None:
        """See Remote."""
        with self._faults(Cause.NO_WRITING):
            (self.root / layout.entry(key)).unlink(missing_ok=True)

    def entries(self) -> Iterator[str]:
        """See Remote."""
        with self._faults():
            folder = self.root / layout.ENTRIES
            names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208  Many.
        return layout.keys(names)

    @contextlib.contextmanager
    def _faults(self, cause: Cause = Cause.OTHER) -> Iterator[None]:
        """Turns a fault of the folder into a RemoteError; a fault of a file here stays what it is."""
        try:
            yield
        except RemoteError:
            raise
        except OSError as fault:
            raise RemoteError(fault.strerror or str(fault), cause) from fault
