"""Withdraws what came from a writer that is not trusted, from the local store and the build folders that use it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from qatbuild.engine.recorded import recorded
from qatbuild.engine.store.entry import Entry
from qatbuild.engine.store.local import LocalStore
from qatbuild.exchange.files import write_text


def withdraw(local: LocalStore, writers: Collection[str], entry_of: Callable[[str], Entry | None]) -> int:
    """Removes the writers' results from a local store, and makes stages stale that were restored from them.

    `entry_of` also knows entries of results that are not in the local store. Returns the number of stages. A record is
    emptied, not removed: a build that is running has perhaps found it sound, and must see at its end that it changed.
    """
    kept = {key for key in local.keys() if _is_of(local.entry(key), writers)}  # noqa: SIM118  A store is no dict.
    stale = [path for build in {local.build, *local.builds()} for path in _restored(build, kept, writers, entry_of)]
    for path in stale:
        with contextlib.suppress(OSError):  # Of a build folder that is only read nothing is built.
            write_text(path, "")
    with contextlib.suppress(OSError):
        local.drop(kept)
    return len(stale)


def _restored(
    build: Path, keys: Collection[str], writers: Collection[str], entry_of: Callable[[str], Entry | None]
) -> Iterator[Path]:
    for path in build.rglob("*.request.json"):
        record = recorded(path)
        if record is not None:
            key = record.request.key
            if key in keys or _is_of(entry_of(key), writers):
                yield path


def _is_of(entry: Entry | None, writers: Collection[str]) -> bool:
    return entry is not None and entry.writer.id in writers
