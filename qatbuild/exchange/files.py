"""Files and values that both halves read, write or digest: regular files, atomic writes, SHA-256, canonical JSON.

Whatever lies in the place of a file, reading it ends with an OSError or a ValueError, and writing it makes way.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import stat
import sys
import threading
from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import printable

_SMALL_BYTES = 1 << 13
"""Most manifests and records are smaller. os.read allocates what it is asked for, which is felt for a mebibyte."""

_CHUNK_BYTES = 1 << 20

_MOST_DEPTH = 200
"""Deepest JSON that is read: what recurses over it stays far below Python's limit."""

_encode = json.JSONEncoder(allow_nan=False).encode
_encode_sorted = json.JSONEncoder(allow_nan=False, sort_keys=True).encode
_encode_canonical = json.JSONEncoder(allow_nan=False, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def read_bytes(file: Path | str, enough_bytes: int = sys.maxsize) -> bytes:
    """Returns a file's content, in a third of the system calls of Path.read_bytes: a build reads many small files.

    Of a file with more than `enough_bytes`, only a part with more is read. OSError with the path unless it is a regular
    file: a FIFO would never end, nor would /dev/zero.
    """
    descriptor = _opened(file)
    try:
        data = chunk = os.read(descriptor, _SMALL_BYTES)
        while chunk and len(data) <= enough_bytes:
            chunk = os.read(descriptor, _CHUNK_BYTES if len(chunk) >= _SMALL_BYTES else _SMALL_BYTES)
            data += chunk
    finally:
        os.close(descriptor)
    return data


def read_text(file: Path | str) -> str:
    """Returns a file's UTF-8 text; OSError unless it is a regular file, ValueError for other bytes."""
    return read_bytes(file).decode()


def read_json(file: Path | str) -> Any:
    """Returns the value of a JSON file; OSError unless it is a regular file, ValueError for another text."""
    return parse_json(read_bytes(file))


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text in UTF-8; ValueError also for NaN and a depth that nothing here writes."""
    text = text if isinstance(text, str) else text.decode()
    try:
        value = _decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text.count("[") + text.count("{") > _MOST_DEPTH:
        _check_depth(value)
    return value


def _finite(text: str) -> float:
    """Returns a number of JSON; ValueError for NaN and what is infinite, which could not be written again."""
    if math.isfinite(number := float(text)):
        return number
    raise ValueError(f"{text} is no finite number")


_decode = json.JSONDecoder(parse_constant=_finite, parse_float=_finite).decode


def _check_depth(value: object) -> None:
    level: list[Any] = [value]
    for _ in range(_MOST_DEPTH):
        inside = chain.from_iterable(each.values() if isinstance(each, dict) else each for each in level)
        level = [each for each in inside if isinstance(each, dict | list)]
        if not level:
            return
    raise ValueError("nested too deeply")


def file_sha256(file: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; OSError unless it is a regular file."""
    descriptor = _opened(file)
    try:
        chunk = os.read(descriptor, _SMALL_BYTES)
        digest = hashlib.sha256(chunk)
        while chunk:
            chunk = os.read(descriptor, _CHUNK_BYTES if len(chunk) >= _SMALL_BYTES else _SMALL_BYTES)
            digest.update(chunk)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _opened(file: Path | str) -> int:
    """Opens a regular file for reading. O_NONBLOCK: opening a FIFO would wait for a writer."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        check_regular(descriptor, file)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def check_regular(descriptor: int, file: Path | str) -> None:
    """Raises OSError unless an open file is a regular one."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if not stat.S_ISREG(mode):
        raise OSError(errno.ENOTSUP, "Not a regular file", str(file))


def write_text(path: Path, text: str) -> None:
    """Replaces a file by rename: readers see the old or the new text, never a part. OSError names this file."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file by rename, as `write_text` does."""
    draft = f"{path.parent}/.{path.name}.{os.getpid()}.{threading.get_ident()}"
    try:
        try:
            _write(draft, data)
        except FileNotFoundError:
            make_folder(path.parent)
            _write(draft, data)
        put(draft, str(path))
    except BaseException as fault:
        with contextlib.suppress(OSError):  # On a read-only disk the first error says more.
            Path(draft).unlink(missing_ok=True)
        if isinstance(fault, OSError) and fault.filename in {None, draft}:
            fault.filename, fault.filename2 = str(path), None
        raise


def put(source: str, target: str) -> None:
    """Moves a file to `target`, by rename; a folder that is there makes way."""
    try:
        os.replace(source, target)  # noqa: PTH105  Several times a stage: a Path would take longer than the call.
    except IsADirectoryError:
        make_way(target)
        os.replace(source, target)  # noqa: PTH105


def make_way(path: Path | str) -> None:
    """Makes a path free for a file, unless it is one or a link to one: whatever else is there would hang or fail.

    A folder with content may be somebody's: it is renamed to a free name beside, with a line on stderr.
    """
    place = Path(path)
    with contextlib.suppress(OSError):
        if stat.S_ISREG(place.stat().st_mode):
            return
    try:
        place.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):  # The second one is macOS's for a folder.
        try:
            place.rmdir()
        except OSError:
            names = (f"{place}.aside-{number}" for number in count(1))
            aside = place.rename(next(name for name in names if not os.path.lexists(name)))
            sys.stderr.write(f"{printable(str(place))} was in the way of a file: it is now {printable(aside.name)}\n")


def discard(file: Path) -> None:
    """Removes a file, or makes way for one."""
    make_way(file)
    file.unlink(missing_ok=True)


def remove(path: Path | str) -> bool:
    """Removes a file, or a folder of ours with its content; returns whether it is gone, with a line on stderr if not.

    It may not have existed. Of a folder as much as possible is removed.
    """
    try:
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114  Called once a stage.
            shutil.rmtree(path)
        else:
            os.unlink(path)  # noqa: PTH108
    except OSError as fault:
        shutil.rmtree(path, ignore_errors=True)
        if os.path.lexists(path):
            sys.stderr.write(f"{printable(os.path.relpath(path))} cannot be removed: {fault.strerror or fault}\n")
            return False
    return True


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it. OSError names the path that is no folder, if one is in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as fault:
        inside = (path for path in (*reversed(folder.parents), folder) if os.path.lexists(path) and not path.is_dir())
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(next(inside, folder))) from fault


def _write(file: str, data: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, data[written:])
    finally:
        os.close(descriptor)


def canonical_json(value: object) -> str:
    """Returns the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return _encode_canonical(value)


def lined_json(fields: Mapping[str, object], *, sort_keys: bool = False) -> str:
    """Returns the JSON of an object with one member a line, which people can read. ValueError for NaN.

    json.dumps with an indent takes ten times as long: that part of Python's encoder is not written in C.
    """
    encode = _encode_sorted if sort_keys else _encode
    names = sorted(fields) if sort_keys else fields
    return "{\n" + ",\n".join(f" {encode(name)}: {encode(fields[name])}" for name in names) + "\n}\n"
