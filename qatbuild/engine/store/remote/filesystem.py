"""A remote store in any file system of fsspec: s3, gs, az, sftp and others, each with its own package and settings."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec

from qatbuild.engine.cache import with_credentials
from qatbuild.engine.store.remote import Cause, RemoteError, layout
from qatbuild.engine.store.remote.action_result import packed, unpacked
from qatbuild.exchange.errors import SpecError

_PART_BYTES = 5 << 20
"""S3 takes a large object in parts of 5 MiB at least."""

_CHUNK_BYTES = 1 << 20

_WHOLE_AT_ONCE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"}
"""Protocols of stores in which an object appears when it is complete. Elsewhere a file is written and then renamed."""

_TIMED = {"s3", "s3a"}
"""Protocols whose file systems end an operation that takes too long."""

_PATIENCE = 3
"""Timeouts that an operation may take: it moves up to _PART_BYTES."""

T = TypeVar("T")


class FilesystemRemote:
    """Blobs and entries below a URL."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """Opens the file system of a URL. SpecError for a scheme that fsspec does not know, or without its package."""
        scheme = url.partition("://")[0]
        try:
            self._files, root = fsspec.url_to_fs(with_credentials(url), **_options(scheme, timeout_s))
        except (ImportError, ValueError) as fault:
            facts = [("cache", url), ("reason", fault)]
            hint = "write another scheme, or install the package that fsspec names"
            raise SpecError("The cache's URL leads to no file system.", facts, hint) from fault
        self._url = url
        self._timeout_s = timeout_s
        self._root = str(root).rstrip("/")
        self._is_timed = scheme in _TIMED
        self._is_whole_at_once = scheme in _WHOLE_AT_ONCE

    @property
    def place(self) -> str:
        """See Remote."""
        return self._url

    def read_blob(self, sha256: str, target: Path, size_bytes: int) -> bool:
        """See Remote. A whole file comes in one stream from S3; else in parts, which no abandoned call can write to."""
        path = f"{self._root}/{layout.blob(sha256)}"
        try:
            if self._is_timed and not (target.exists() and target.stat().st_size):
                with self._faults():
                    self._files.get_file(path, str(target))
            else:
                self._read_rest(path, target, size_bytes)
        except FileNotFoundError:
            return False
        return True

    def _read_rest(self, path: str, target: Path, size_bytes: int) -> None:
        with target.open("ab") as sink:
            while not size_bytes or sink.tell() < size_bytes:
                start = sink.tell()
                with self._faults():
                    chunk = self._timely(self._files.cat_file, path, start=start, end=start + _PART_BYTES)
                sink.write(chunk)
                if len(chunk) < _PART_BYTES:
                    return

    def write_blob(self, sha256: str, source: Path) -> None:
        """See Remote."""
        with source.open("rb") as content:
            self._write(layout.blob(sha256), iter(lambda: content.read(_CHUNK_BYTES), b""))

    def has_blob(self, sha256: str) -> bool:
        """See Remote."""
        with self._faults():
            return bool(self._timely(self._files.exists, f"{self._root}/{layout.blob(sha256)}"))

    def read_entry(self, key: str) -> str | None:
        """See Remote. ValueError for a text that is no entry."""
        with self._faults():
            try:
                data = self._timely(self._files.cat_file, f"{self._root}/{layout.entry(key)}")
            except FileNotFoundError:
                return None
        return unpacked(data.decode())

    def write_entry(self, key: str, text: str, blobs: Mapping[str, int]) -> None:
        """See Remote."""
        self._write(layout.entry(key), iter([packed(text, blobs).encode()]))

    def remove_entry(self, key: str) -> None:
        """See Remote."""
        with self._faults(is_writing=True), contextlib.suppress(FileNotFoundError):
            self._timely(self._files.rm_file, f"{self._root}/{layout.entry(key)}")

    def entries(self) -> Iterator[str]:
        """See Remote."""
        with self._faults():
            self._files.invalidate_cache()
            try:
                paths = self._timely(self._files.ls, f"{self._root}/{layout.ENTRIES}", detail=False)
            except FileNotFoundError:
                paths = []
        return layout.keys(PurePosixPath(path).name for path in paths)

    def _write(self, name: str, chunks: Iterator[bytes]) -> None:
        path = f"{self._root}/{name}"
        draft = path if self._is_whole_at_once else f"{path}.draft-{os.urandom(8).hex()}"
        with self._faults(is_writing=True):
            if not self._is_whole_at_once:
                self._timely(self._files.makedirs, path.rpartition("/")[0], exist_ok=True)
            sink = self._timely(self._files.open, draft, "wb", block_size=_PART_BYTES)
            try:
                for chunk in chunks:
                    self._timely(sink.write, chunk)
            except BaseException:
                sink.closed = True  # To close it would make what has arrived an object.
                raise
            self._timely(sink.close)
            if draft != path:
                self._timely(self._files.mv, draft, path)

    def _timely(self, operation: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Returns the result of an operation; RemoteError if it takes too long.

        Few file systems have timeouts. What hangs goes on in a thread that ends with the process.
        """
        if self._is_timed:
            return operation(*arguments, **options)
        result = Future[T]()
        threading.Thread(target=_run, args=(result, operation, arguments, options), daemon=True).start()
        limit_s = _PATIENCE * self._timeout_s
        if not wait([result], limit_s).done:
            raise RemoteError(f"no answer within {limit_s:g} s", Cause.UNREACHABLE)
        return result.result()

    @contextlib.contextmanager
    def _faults(self, *, is_writing: bool = False) -> Iterator[None]:
        """Turns what the packages below fsspec raise into a RemoteError: they have no common class."""
        try:
            yield
        except (FileNotFoundError, RemoteError):
            raise
        except Exception as fault:  # noqa: BLE001
            raise _fault(fault, is_writing=is_writing) from None


def _run(result: Future[T], operation: Callable[..., T], arguments: Any, options: Any) -> None:
    try:
        result.set_result(operation(*arguments, **options))
    except BaseException as fault:  # noqa: BLE001  It is raised where the result is asked for.
        result.set_exception(fault)


def _options(scheme: str, timeout_s: float) -> dict[str, Any]:
    """Returns the arguments of a file system.

    For S3 without its own retries, which would wait much longer, and without parts side by side, 50 MiB each in memory,
    which would leave a cut file with holes.
    """
    if scheme not in _TIMED:
        return {}
    timeouts = {"connect_timeout": timeout_s, "read_timeout": timeout_s, "retries": {"max_attempts": 0}}
    return {"config_kwargs": timeouts, "use_listings_cache": False, "max_concurrency": 1}


def _fault(fault: Exception, *, is_writing: bool) -> RemoteError:
    name = type(fault).__name__
    text = str(fault) or name
    if isinstance(fault, PermissionError) or "Credentials" in name:
        cause = Cause.NO_WRITING if is_writing else Cause.FORBIDDEN
        return RemoteError(f"{text}; credentials come from the scheme's own configuration", cause)
    return RemoteError(text, Cause.UNREACHABLE if "Connect" in name or "Timeout" in name else Cause.PASSING)
