"""A store in a folder of this machine, for one checkout or for several.

    index/AB/KEY.json     the entry of a request: its manifest, and the digests of files without a digest in it
    blobs/AB/SHA256       the content
    projects/HASH.json    the build folder of a project that keeps results here
    quarantine.json       writers that are not trusted: id -> reason
    lock                  shared while results are kept or fetched, exclusive while they are removed

An index entry is written last, by rename, and read first: it never refers to an incomplete blob. Its mtime is the time
of its last use.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.history.origin import Origin
from qatbuild.engine.store.entry import Entry
from qatbuild.engine.store.place import place, takes_links
from qatbuild.exchange.files import file_sha256, make_folder, make_way, put, read_json, read_text, remove, write_text
from qatbuild.exchange.lock import held
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request

_LARGE_BYTES = 32 << 20
"""From here on starting threads is worth their time."""


class Result(NamedTuple):
    """One entry of the index: the stage that made it, the time of its last use (seconds), its blobs."""

    key: str
    stage: str
    used: float
    blobs: Mapping[str, int]


class LocalStore:
    """Results below a folder, which is created for the first result."""

    def __init__(self, root: Path, project: Path, build: Path) -> None:
        """Opens the store at `root`, for a project with its artifacts below `build`."""
        self.root = root
        self.project = project
        self.build = build
        self._lock = root / "lock"
        self._is_registered = False
        self._parsed: tuple[str, str, Entry] | None = None
        """The last entry with its key and text: a stage that is restored asks for it several times."""

    @property
    def local(self) -> LocalStore:
        """See Store."""
        return self

    def text(self, key: str) -> str | None:
        """See Store."""
        entry = self._trusted(key)
        return None if entry is None else entry.text

    def fetch(self, key: str, folder: Path, *, may_stay: bool = False) -> Manifest | None:  # noqa: ARG002  All is here.
        """See Store. A blob with other content than its name is removed, with the entry that refers to it.

        OSError if `folder` cannot be written.
        """
        if (entry := self._trusted(key)) is None:
            return None
        with held(self._lock, shared=True):
            if self._all_fetched(entry, folder):
                with contextlib.suppress(OSError):  # A store that cannot be written can still be read.
                    os.utime(self._index(key))
                return entry.manifest(folder)
            with contextlib.suppress(OSError):
                self._index(key).unlink(missing_ok=True)
        remove(folder)
        folder.mkdir(parents=True)
        return None

    def _all_fetched(self, entry: Entry, folder: Path) -> bool:
        """Gives the files of a result their content; large ones side by side, for digests take most of the time."""
        jobs = [(Path(self._blob(digest)), digest, folder / name) for name, (_, digest) in entry.files.items()]
        if sum(entry.blobs.values()) < _LARGE_BYTES:
            return all(self._fetched(*job) for job in jobs)
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  Most results are small.

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return all(pool.map(lambda job: self._fetched(*job), jobs))

    def _fetched(self, blob: Path, digest: str, target: Path) -> bool:
        """Gives `target` the content of a blob; returns False, without the blob, if that is damaged or no file."""
        try:
            place(blob, target)
            if file_sha256(target) == digest:
                return True
        except OSError:
            if blob.is_file():  # The fault is the target's.
                raise
        with contextlib.suppress(OSError):
            make_way(blob)
            blob.unlink(missing_ok=True)
        return False

    def keep(self, request: Request, manifest: Manifest, origin: Origin) -> Entry:
        """See Store."""
        entry = Entry.of(request, manifest, origin)
        with held(self._lock, shared=True):
            for name, (_, digest) in entry.files.items():
                self._put(f"{manifest.folder}/{name}", digest)
            self._enter(entry)
        return entry

    def enter(self, entry: Entry) -> None:
        """Keeps the entry of a result whose blobs are here already."""
        with held(self._lock, shared=True):
            self._enter(entry)

    def move_in(self, file: Path, digest: str) -> Path:
        """Makes a file a blob, after its content was compared with the digest; returns the blob."""
        blob = Path(self._blob(digest))
        with held(self._lock, shared=True):
            make_folder(blob.parent)
            try:
                put(str(file), str(blob))
            except OSError as fault:
                if fault.errno != errno.EXDEV:
                    raise
                draft = self.root / f"draft-{os.urandom(8).hex()}"
                shutil.copyfile(file, draft)
                put(str(draft), str(blob))
                file.unlink()
        return blob

    def has(self, digest: str) -> bool:
        """Returns whether there is a blob with this name; its content may be damaged."""
        return os.path.isfile(self._blob(digest))  # noqa: PTH113  Every file of every result.

    def _enter(self, entry: Entry) -> None:
        self._register()
        write_text(self._index(entry.key), entry.to_json())

    def entry(self, key: str) -> Entry | None:
        """See Store."""
        try:
            text = read_text(self._index(key))
            if self._parsed is None or self._parsed[:2] != (key, text):
                self._parsed = key, text, Entry.parse(key, text)
            return self._parsed[2]
        except (OSError, ValueError):
            return None

    def _trusted(self, key: str) -> Entry | None:
        entry = self.entry(key)
        return None if entry is None or self.is_quarantined(entry) else entry

    def blob(self, sha256: str, size_bytes: int = 0) -> Path | None:  # noqa: ARG002  Only a transfer needs it.
        """See Store."""
        blob = Path(self._blob(sha256))
        with contextlib.suppress(OSError):
            if file_sha256(blob) == sha256:
                return blob
        return None

    def keys(self) -> Iterator[str]:
        """See Store."""
        return (path.stem for path in self.root.glob("index/*/*.json"))

    def quarantine(self, writer: str, reason: str) -> None:
        """See Store."""
        self.distrusted = {**self._read_distrusted(), writer: reason}
        write_text(self.root / "quarantine.json", json.dumps(self.distrusted))

    def is_quarantined(self, entry: Entry) -> bool:
        """See Store."""
        return entry.writer.id in self.distrusted

    @cached_property
    def distrusted(self) -> dict[str, str]:
        """The writers in quarantine on this machine, with the reasons."""
        return self._read_distrusted()

    def _read_distrusted(self) -> dict[str, str]:
        try:
            return {str(writer): str(reason) for writer, reason in read_json(self.root / "quarantine.json").items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def finish(self) -> None:
        """See Store. Nothing is ever under way."""

    def forget(self, key: str) -> None:
        """See Store. Its blobs stay until the next `drop`."""
        self._index(key).unlink(missing_ok=True)

    def builds(self) -> Iterator[Path]:
        """The build folders of all existing projects that keep results here."""
        for path in sorted(self.root.glob("projects/*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if (build := Path(read_json(path)["build"])).is_dir():
                    yield build

    def results(self) -> Iterator[Result]:
        """Yields every kept result."""
        for path in sorted(self.root.glob("index/*/*.json")):
            if (entry := self.entry(path.stem)) is not None:
                yield Result(path.stem, entry.stage, path.stat().st_mtime, entry.blobs)

    def drop(self, keys: Iterable[str]) -> None:
        """Removes results, and every blob that no other result uses."""
        if not self.root.is_dir():
            return
        with held(self._lock):
            for key in keys:
                self.forget(key)
            needed = {digest for result in self.results() for digest in result.blobs}
            for path in self.root.glob("blobs/*/*"):
                if path.name not in needed:
                    with contextlib.suppress(IsADirectoryError):  # Not the store's own.
                        path.unlink(missing_ok=True)
            for draft in self.root.glob("draft-*"):
                remove(draft)

    def _register(self) -> None:
        """Records that the project keeps results here, so that other projects do not remove them as unneeded."""
        if self._is_registered:
            return
        self._is_registered = True
        path = self.root / "projects" / f"{hashlib.sha256(str(self.build).encode()).hexdigest()[:16]}.json"
        if not path.is_file():
            write_text(path, json.dumps({"project": str(self.project), "build": str(self.build)}))

    def _put(self, path: str, digest: str) -> None:
        """Stores a file's content, replacing an existing blob, which may have been written to."""
        blob = self._blob(digest)
        status = os.stat(path)  # noqa: PTH116  Every artifact of a build, as is all below.
        try:
            former = os.stat(blob)  # noqa: PTH116
        except FileNotFoundError:
            if takes_links(status.st_dev) and _linked(path, blob):
                return
        else:
            if (former.st_ino, former.st_dev) == (status.st_ino, status.st_dev):
                return
        draft = self.root / f"draft-{os.urandom(8).hex()}"
        try:
            place(Path(path), draft)
            try:
                put(str(draft), blob)
            except FileNotFoundError:
                make_folder(Path(blob).parent)
                put(str(draft), blob)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def _index(self, key: str) -> Path:
        return Path(f"{self.root}/index/{key[:2]}/{key}.json")

    def _blob(self, digest: str) -> str:
        return f"{self.root}/blobs/{digest[:2]}/{digest}"


def _linked(path: str, blob: str) -> bool:
    """Makes the absent blob a link to a file, which needs no draft: it is whole at once."""
    with contextlib.suppress(OSError):
        try:
            os.link(path, blob)
        except FileNotFoundError:
            make_folder(Path(blob).parent)
            os.link(path, blob)
        return True
    return False
