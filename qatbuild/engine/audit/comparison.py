"""Compares a kept result with one that was built again, byte for byte; files with measured times without these."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qatbuild.engine.store import Store
from qatbuild.engine.store.entry import Entry
from qatbuild.exchange.files import read_json
from qatbuild.exchange.manifest import Manifest

_CLOCKS = {"report.json": ("latency_ms", "latencies_ms")}
"""Measured file -> its fields with times. A file that is not listed has nothing but times."""


def differences(entry: Entry, rebuilt: Manifest, store: Store) -> list[str]:
    """Returns what differs: names of files, and "facts". The artifacts of `rebuilt` are in its folder."""
    kept = entry.manifest(Path())
    names = sorted({*kept.files, *rebuilt.files})
    differing = [name for name in names if kept.files.get(name) != rebuilt.files.get(name)]
    differing += [
        name
        for name, (_, digest) in rebuilt.files.items()
        if not digest and name not in differing and _differs(entry, rebuilt.folder, name, store)
    ]
    if not differing and kept.to_json() != rebuilt.to_json():
        differing.append("facts")
    return differing


def _differs(entry: Entry, folder: Path, name: str, store: Store) -> bool:
    """Returns whether a measured file differs in more than its times."""
    clocks = _CLOCKS.get(Path(name).name)
    if clocks is None:
        return False
    size_bytes, digest = entry.extra[name]
    blob = store.blob(digest, size_bytes)
    return blob is not None and _timeless(blob, clocks) != _timeless(folder / name, clocks)


def _timeless(file: Path, clocks: tuple[str, ...]) -> Any:
    """Returns the value of a JSON file without its times; a text that is no JSON, as its bytes."""
    try:
        return dict(_fields(read_json(file), clocks))
    except ValueError:
        return file.read_bytes()


def _fields(report: Any, clocks: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if not isinstance(report, dict):
        raise ValueError("not an object")  # noqa: TRY004  It is treated like a text that is no JSON.
    return ((name, value) for name, value in report.items() if name not in clocks)
