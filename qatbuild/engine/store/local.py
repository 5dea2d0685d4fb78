"""A store in a folder of this machine, for one checkout or for several.

    index/AB/KEY.json     the manifest of a request, and the digests of files without a digest in it
    blobs/AB/SHA256       the content
    projects/HASH.json    the build folder of a project that keeps results here
    lock                  shared while results are kept or fetched, exclusive while they are removed

An index entry is written last, by rename, and read first: it never refers to an incomplete blob. Its mtime is the time
of its last use.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.engine.store.place import place, takes_links
from qatbuild.engine.walk import tree
from qatbuild.exchange.files import file_sha256, make_folder, make_way, put, read_json, remove, write_text
from qatbuild.exchange.lock import held
from qatbuild.exchange.manifest import LOGS, Manifest, is_inside

Files = dict[str, tuple[int, str]]


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

    def text(self, key: str) -> str | None:
        """See Store."""
        entry = self._entry(key)
        return None if entry is None else str(entry["manifest"])

    def fetch(self, key: str, folder: Path) -> Manifest | None:
        """See Store. A blob with other content than its name is removed, with the entry that refers to it.

        OSError if `folder` cannot be written.
        """
        if (entry := self._entry(key)) is None:
            return None
        manifest = _manifest(entry, folder)
        with held(self._lock, shared=True):
            files = _content(entry, manifest).items()
            if all(self._fetched(Path(self._blob(digest)), digest, folder / name) for name, (_, digest) in files):
                with contextlib.suppress(OSError):  # A store that cannot be written can still be read.
                    os.utime(self._index(key))
                return manifest
            with contextlib.suppress(OSError):
                self._index(key).unlink(missing_ok=True)
        remove(folder)
        folder.mkdir(parents=True)
        return None

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

    def keep(self, key: str, manifest: Manifest) -> None:
        """See Store."""
        extra = {name: _described(manifest.folder / name) for name, (_, digest) in manifest.files.items() if not digest}
        logs = [path for name in LOGS for path in map(Path, tree(f"{manifest.folder}/{name}")[1]) if path.is_file()]
        extra |= {path.relative_to(manifest.folder).as_posix(): _described(path) for path in logs}
        with held(self._lock, shared=True):
            for name, (_, digest) in {**manifest.files, **extra}.items():
                self._put(f"{manifest.folder}/{name}", digest)
            self._register()
            write_text(self._index(key), json.dumps({"manifest": manifest.to_json(), "extra": extra}))

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
            if (entry := self._entry(path.stem)) is not None:
                manifest = _manifest(entry, Path())
                blobs = {digest: size_bytes for size_bytes, digest in _content(entry, manifest).values()}
                yield Result(path.stem, manifest.stage, path.stat().st_mtime, blobs)

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

    def _entry(self, key: str) -> dict[str, Any] | None:
        try:
            entry = read_json(self._index(key))
            _content(entry, _manifest(entry, Path()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return None
        return dict(entry)


def _manifest(entry: Mapping[str, Any], folder: Path) -> Manifest:
    return Manifest.parse(entry["manifest"], folder)


def _content(entry: Mapping[str, Any], manifest: Manifest) -> Files:
    """Returns every file of a result: those of the manifest, with the digests of clocked files, and the logs.

    ValueError for a name outside of the folder.
    """
    extra = {name: (int(size), str(digest)) for name, (size, digest) in entry["extra"].items()}
    files = {**manifest.files, **extra}
    if not all(map(is_inside, extra)):
        raise ValueError("a name is no path in the folder")
    return files


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


def _described(path: Path) -> tuple[int, str]:
    return path.stat().st_size, file_sha256(path)
