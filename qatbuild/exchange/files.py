"""Files and values that both halves write or digest: atomic writes, SHA-256, canonical JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

_SMALL_BYTES = 1 << 13
"""Most manifests and records are smaller. os.read allocates what it is asked for, which is felt for a mebibyte."""

_CHUNK_BYTES = 1 << 20

_encode = json.JSONEncoder(allow_nan=False).encode
_encode_sorted = json.JSONEncoder(allow_nan=False, sort_keys=True).encode
_encode_canonical = json.JSONEncoder(allow_nan=False, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def read_bytes(file: Path | str) -> bytes:
    """Returns a file's content, in a third of the system calls of Path.read_bytes: a build reads many small files."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = chunk = os.read(descriptor, _SMALL_BYTES)
        while chunk:
            chunk = os.read(descriptor, _CHUNK_BYTES if len(chunk) >= _SMALL_BYTES else _SMALL_BYTES)
            data += chunk
    finally:
        os.close(descriptor)
    return data


def file_sha256(file: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunk = os.read(descriptor, _SMALL_BYTES)
        digest = hashlib.sha256(chunk)
        while chunk:
            chunk = os.read(descriptor, _CHUNK_BYTES if len(chunk) >= _SMALL_BYTES else _SMALL_BYTES)
            digest.update(chunk)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Replace a file by rename: readers see the old or the new text, never a part."""
    draft = f"{path.parent}/.{path.name}.{os.getpid()}.{threading.get_ident()}"
    try:
        try:
            _write(draft, text)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(draft, text)
        os.replace(draft, path)  # noqa: PTH105  Several times a stage: a Path would take longer than the call.
    except BaseException:
        with contextlib.suppress(OSError):  # On a read-only disk the first error says more.
            Path(draft).unlink(missing_ok=True)
        raise


def _write(file: str, text: str) -> None:
    data = text.encode()
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
