"""Downloads, resumed after an interruption, verified by SHA-256, and renamed when complete.

Why not pooch: it has hashes, retries and progress, but does not resume.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from qatbuild.exchange.errors import DatasetError, system_hint
from qatbuild.exchange.files import file_sha256, make_folder, make_way, put
from qatbuild.exchange.lock import held
from qatbuild.worker import console

ATTEMPTS = 5
TIMEOUT_S = 30

_CHUNK_BYTES = 1 << 18
_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_CUTS = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, TimeoutError, ssl.SSLEOFError)
_RANGE_NOT_SATISFIABLE = 416
_HINT = (
    'Fetch it by other means and give its place as "path" in the spec\'s dataset, or name a mirror with "url" and '
    'its "sha256" (idx: with "url" alone).'
)


class _CutError(Exception):
    """The transfer was interrupted; another attempt may succeed."""


def fetch(url: str, sha256: str, folder: Path, *, size_bytes: int | None = None, pause_s: float = 1.0) -> Path:
    """Downloads `url` (http or https) into `folder`, under the last part of the URL; returns the file.

    An existing file with the wanted SHA-256 is used without a connection. An existing file with other content stays;
    the new one is then named with the checksum's first 12 digits in front.

    Bytes arrive in `<name>.<checksum>.part`. An interrupted transfer is resumed from it, in this or a later build.
    The file is renamed when its checksum is verified. Broken connections and temporary server errors (408, 429,
    5xx) are tried ATTEMPTS times with pauses of `pause_s`, 2 `pause_s`, 4 `pause_s`, ... seconds. Two builds that
    need the same file take turns: the second one uses the first one's.

    `size_bytes`, if known, distinguishes an interrupted transfer from a wrong file.

    Raises DatasetError with the url and the hint: no connection, refusal by the server, wrong checksum (the part file
    is removed), no room or no right to write.
    """
    sha256 = sha256.lower()
    name = _name(url)
    try:
        make_folder(folder)
        with held(folder / f".{name}.lock"):
            target = folder / name
            for place in (target, folder / f"{sha256[:12]}-{name}"):
                target = place
                if not os.path.lexists(target):
                    break
                with suppress(OSError):  # Something else than a file also stays.
                    if file_sha256(target) == sha256:
                        return target
            part = folder / f"{name}.{sha256[:12]}.part"
            make_way(part)
            _transfer(url, sha256, part, size_bytes, pause_s)
            put(str(part), str(target))
            return target
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
            _HINT,
        )
    return name


def _raise_disk_fault(url: str, folder: Path, fault: OSError) -> NoReturn:
    full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
    message = "The disk is full." if full else "The folder for downloads cannot be used."
    hint = "Free some space and build again: the partial file is kept." if full else system_hint(fault)
    raise DatasetError(message, [("url", url), ("folder", folder), ("reason", fault)], hint) from fault


def _transfer(url: str, sha256: str, part: Path, size_bytes: int | None, pause_s: float) -> None:
    """Completes the file `part`. DatasetError if that fails, OSError only for faults of the disk."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            got = _attempt(url, sha256, part, size_bytes)
        except _CutError as fault:
            if attempt == ATTEMPTS:
                facts = [("url", url), ("attempts", attempt), ("reason", fault)]
                raise DatasetError("The download was interrupted repeatedly.", facts, _resume_hint()) from fault
            time.sleep(pause_s * 2 ** (attempt - 1))
            continue
        if got != sha256:
            arrived_bytes = part.stat().st_size
            part.unlink()
            raise DatasetError(
                "The downloaded file does not have the expected SHA-256, and was removed.",
                [("url", url), ("sha256 got", got), ("sha256 wanted", sha256), ("bytes got", f"{arrived_bytes:,}")],
                f"Build again in case the transfer was damaged. {_HINT}",
            )
        return


def _resume_hint() -> str:
    return f"Build again: the download goes on where it stopped. {_HINT}"


def _attempt(url: str, sha256: str, part: Path, size_bytes: int | None) -> str:
    """Fetches the missing rest of `part`; returns the SHA-256 of the whole file."""
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
                    raise _CutError("the server sent another range than the requested one")
                have_bytes = 0
            digest = hashlib.sha256()
            if have_bytes:
                with part.open("rb") as resumed:
                    digest = hashlib.file_digest(resumed, "sha256")
            _receive(response, sink, digest, have_bytes, size_bytes)
    return digest.hexdigest()


def _continues(response: http.client.HTTPResponse, have_bytes: int) -> bool:
    """Returns whether the server sends the requested rest; it sends the whole file (200) if it supports no ranges."""
    if response.status != http.client.PARTIAL_CONTENT:
        return False
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {have_bytes}-")


def _settle_unsatisfiable(part: Path, sha256: str) -> str:
    """Handles 416: the file is complete, or it belongs to another file and is removed."""
    got = file_sha256(part)
    if got != sha256:
        part.unlink()
        raise _CutError("the partial file of an earlier transfer is not a part of the server's file")
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
    answer = f"{fault.code} {fault.reason}"
    fault.close()
    if fault.code in _PASSING_STATUS:
        raise _CutError(f"the server answered {answer}") from fault
    raise DatasetError("The server refuses the download.", [("url", url), ("answer", answer)], _HINT) from fault


def _raise_unconnected(url: str, fault: Exception) -> NoReturn:
    reason = fault.reason if isinstance(fault, urllib.error.URLError) else fault
    if isinstance(reason, _CUTS):
        raise _CutError(reason) from fault
    facts = [("url", url), ("reason", reason or type(fault).__name__)]
    raise DatasetError("The server cannot be reached.", facts, _HINT) from fault


def _receive(
    response: http.client.HTTPResponse, sink: IO[bytes], digest: Any, have_bytes: int, size_bytes: int | None
) -> None:
    """Appends the response's body to `sink`; _CutError if it is shorter than the length stated by the server."""
    total_bytes = have_bytes + response.length if response.length is not None else size_bytes
    name = urllib.parse.urlsplit(response.url).path.rpartition("/")[2]
    with console.bar(
        total=total_bytes, initial=have_bytes, desc=name, unit="B", unit_scale=True, unit_divisor=1024
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
