"""A file from the network: resumed where it was cut, checked by SHA-256, and in place only when it is whole."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

from tqdm import tqdm

from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.files import file_sha256
from qatbuild.worker import console

ATTEMPTS = 5
TIMEOUT_S = 30

_CHUNK_BYTES = 1 << 18
_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_CUTS = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, TimeoutError, ssl.SSLEOFError)
_RANGE_NOT_SATISFIABLE = 416
_CURE = (
    'Fetch it by other means and give its place as "path" in the spec\'s dataset, or name a mirror with "url" (and its '
    '"sha256").'
)


class _CutError(Exception):
    """The transfer broke off in a way that another attempt may mend."""


def fetch(url: str, sha256: str, folder: Path, *, size_bytes: int | None = None, pause_s: float = 1.0) -> Path:
    """The file at `url` (http or https), in `folder` under the last part of the URL.

    A file that lies there already with the wanted SHA-256 is used without a connection. A file of that name with
    other content is left alone; then the new one gets the checksum's first 12 digits before its name.

    Bytes arrive in `<name>.<checksum>.part`. An interrupted transfer is resumed there, now or in a later build, and the
    file is renamed when its checksum is right. Connections that break and passing server errors (408, 429, 5xx) are
    tried ATTEMPTS times with pauses of `pause_s`, 2 `pause_s`, 4 `pause_s`, ... seconds. Two builds that want one file
    take turns: the second finds it there.

    `size_bytes`, where it is known, tells a cut transfer from a wrong file.

    Raises DatasetError with the url and the hint: no connection, refusal by the server, wrong checksum (the part file
    is removed), no room or no right to write.
    """
    sha256 = sha256.lower()
    name = _name(url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{name}.lock"):
            target = folder / name
            for place in (target, folder / f"{sha256[:12]}-{name}"):
                target = place
                if not target.exists():
                    break
                if file_sha256(target) == sha256:
                    return target
            part = folder / f"{name}.{sha256[:12]}.part"
            _transfer(url, sha256, part, size_bytes, pause_s)
            return part.replace(target)
    except OSError as fault:
        _raise_disk_fault(url, folder, fault)


def _name(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        name = urllib.parse.unquote(parts.path).rpartition("/")[2]
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and name not in ("", ".", "..")
    except ValueError:
        valid = False
    if not valid or "\0" in name:
        raise DatasetError(
            "This is not the URL of a file that can be downloaded.",
            [("url", url), ("expected", "http:// or https://, a host, and a path that ends in a file name")],
            _CURE,
        )
    return name


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _raise_disk_fault(url: str, folder: Path, fault: OSError) -> NoReturn:
    full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
    message = "The disk is full." if full else "The folder for downloads cannot be used."
    cure = (
        "Make room and build again: what has arrived is kept." if full else "Give the build the right to write there."
    )
    raise DatasetError(message, [("url", url), ("folder", folder), ("reason", fault)], cure) from fault


def _transfer(url: str, sha256: str, part: Path, size_bytes: int | None, pause_s: float) -> None:
    """Bring `part` to the whole file, or raise DatasetError; OSError only for faults of the disk."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            got = _attempt(url, sha256, part, size_bytes)
        except _CutError as fault:
            if attempt == ATTEMPTS:
                facts = [("url", url), ("attempts", attempt), ("reason", fault)]
                raise DatasetError("The download broke off again and again.", facts, _resume_cure()) from fault
            time.sleep(pause_s * 2 ** (attempt - 1))
            continue
        if got != sha256:
            arrived_bytes = part.stat().st_size
            part.unlink()
            raise DatasetError(
                "What was downloaded is not the expected file; it was removed.",
                [("url", url), ("sha256 got", got), ("sha256 wanted", sha256), ("bytes got", f"{arrived_bytes:,}")],
                f"Build again in case the transfer was damaged. {_CURE}",
            )
        return


def _resume_cure() -> str:
    return f"Build again: the download goes on where it stopped. {_CURE}"


def _attempt(url: str, sha256: str, part: Path, size_bytes: int | None) -> str:
    """Fetch what `part` lacks; the SHA-256 of the whole."""
    with part.open("ab") as sink:
        have_bytes = part.stat().st_size
        if size_bytes is not None and have_bytes == size_bytes:
            return file_sha256(part)
        with _opened(url, have_bytes) as response:
            if response.status == _RANGE_NOT_SATISFIABLE:
                return _settle_unsatisfiable(part, sha256)
            if have_bytes and not _continues(response, have_bytes):
                sink.truncate(0)
                if response.status == http.client.PARTIAL_CONTENT:
                    raise _CutError("the server sent another range than the one that was asked for")
                have_bytes = 0
            digest = hashlib.sha256()
            if have_bytes:
                with part.open("rb") as resumed:
                    digest = hashlib.file_digest(resumed, "sha256")
            _receive(response, sink, digest, have_bytes, size_bytes)
    return digest.hexdigest()


def _continues(response: http.client.HTTPResponse, have_bytes: int) -> bool:
    """Whether the server sends the rest that was asked for, or all again (200) because it knows no ranges."""
    if response.status != http.client.PARTIAL_CONTENT:
        return False
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {have_bytes}-")


def _settle_unsatisfiable(part: Path, sha256: str) -> str:
    """There is nothing behind what is here (416): it is whole, or it belongs to another file and goes."""
    got = file_sha256(part)
    if got != sha256:
        part.unlink()
        raise _CutError("what was here from an earlier transfer is not a part of the server's file")
    return got


@contextmanager
def _opened(url: str, have_bytes: int) -> Iterator[Any]:
    headers = {"User-Agent": "qatbuild"}
    if have_bytes:
        headers["Range"] = f"bytes={have_bytes}-"
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - `_name` lets only http and https pass
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as fault:
        if fault.code != _RANGE_NOT_SATISFIABLE or not have_bytes:
            _raise_refusal(url, fault)
        response = fault
    except (OSError, http.client.HTTPException, ValueError) as fault:
        _raise_unconnected(url, fault)
    with response:
        yield response


def _raise_refusal(url: str, fault: urllib.error.HTTPError) -> NoReturn:
    said = f"{fault.code} {fault.reason}"
    fault.close()
    if fault.code in _PASSING_STATUS:
        raise _CutError(f"the server answered {said}") from fault
    raise DatasetError("The server refuses the download.", [("url", url), ("answer", said)], _CURE) from fault


def _raise_unconnected(url: str, fault: Exception) -> NoReturn:
    reason = fault.reason if isinstance(fault, urllib.error.URLError) else fault
    if isinstance(reason, _CUTS):
        raise _CutError(reason) from fault
    facts = [("url", url), ("reason", reason or type(fault).__name__)]
    raise DatasetError("The server cannot be reached.", facts, _CURE) from fault


def _receive(
    response: http.client.HTTPResponse, sink: IO[bytes], digest: Any, have_bytes: int, size_bytes: int | None
) -> None:
    """Append the response's body to `sink`; _CutError if it ends before the server's own length."""
    total_bytes = have_bytes + response.length if response.length is not None else size_bytes
    name = urllib.parse.urlsplit(response.url).path.rpartition("/")[2]
    with tqdm(
        total=total_bytes, initial=have_bytes, desc=name, unit="B", unit_scale=True, unit_divisor=1024, **console.bar()
    ) as bar:
        while chunk := _chunk(response):
            sink.write(chunk)
            digest.update(chunk)
            have_bytes += len(chunk)
            bar.update(len(chunk))
    if total_bytes is not None and have_bytes < total_bytes:
        raise _CutError(f"{have_bytes:,} of {total_bytes:,} bytes arrived")


def _chunk(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as fault:
        raise _CutError(str(fault) or type(fault).__name__) from fault
