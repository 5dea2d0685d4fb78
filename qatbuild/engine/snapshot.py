"""The files of a repository at one time, as git knows them, and the content of a source among them.

Links are followed as the file system does: files, folders and their parents, chains, links into submodules. The entries
of two snapshots say whether a source had the same bytes, without reading files that have not changed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple

_MOST_LINKS = 40
"""As many links as Linux follows in one path."""


class Kind(StrEnum):
    """The kinds of entries."""

    FILE = "file"
    LINK = "link"
    SUBMODULE = "submodule"
    OUTSIDE = "outside"


class Entry(NamedTuple):
    """One path and what git knows of it.

    `value` is the blob of a file ('' if it is not computed yet), the target of a link, the commit of a submodule whose
    files cannot be read, or the path of a source outside of the repository.
    """

    kind: Kind
    path: str
    value: str


Content = Mapping[str, Entry]
"""The files of a source by name relative to it; the name of a single file is ''."""


def same_content(former: Content, present: Content) -> bool:
    """Returns whether two contents have the same names with the same bytes, wherever they lie."""
    kinds = ({name: (each.kind, each.value) for name, each in content.items()} for content in (former, present))
    return next(kinds) == next(kinds)


class Snapshot:
    """Entries by path relative to the repository at `top`, also those of its submodules."""

    def __init__(self, top: str, entries: Iterable[Entry]) -> None:
        """Makes the snapshot of these entries."""
        self.top = top
        self.entries = {entry.path: entry for entry in entries}

    @cached_property
    def _paths(self) -> list[str]:
        return sorted(self.entries)

    def differing(self, other: Snapshot) -> set[str]:
        """Returns the paths whose entries differ from those of another snapshot of the repository."""
        return {path for path, _ in self.entries.items() ^ other.entries.items()}

    def below(self, folder: str) -> Iterator[str]:
        """Yields the path `folder`, if it is an entry, and the paths below it; all for '' and '.'."""
        if folder in ("", "."):
            yield from self._paths
            return
        if folder in self.entries:
            yield folder
        yield from self._beginning(f"{folder}/")

    def content(self, source: str) -> Content:
        """Returns the files of a source: a file, a folder, or a checkpoint, which is several files with one prefix.

        It is empty for a path that git does not know, such as an ignored file.
        """
        return dict(self._content(source, _MOST_LINKS))

    def real(self, path: str) -> Entry:
        """Follows all links in a path. The entry is that of a file, of something outside, or one without a value."""
        left, done, links = deque(path.split("/")), "", _MOST_LINKS
        while left:
            part = left.popleft()
            if part == "..":
                if not done:
                    return Entry(Kind.OUTSIDE, path, "/".join((part, *left)))
                done = done.rpartition("/")[0]
            elif part not in ("", "."):
                here = f"{done}/{part}" if done else part
                entry = self.entries.get(here)
                if entry is None or entry.kind is Kind.FILE:
                    done = here
                    continue
                if entry.kind is not Kind.LINK or not links:
                    return entry._replace(kind=Kind.SUBMODULE)
                links -= 1
                target = entry.value
                if target.startswith("/"):
                    if not PurePosixPath(target).is_relative_to(self.top):
                        return Entry(Kind.OUTSIDE, path, "/".join((target, *left)))
                    done, target = "", PurePosixPath(target).relative_to(self.top).as_posix()
                left.extendleft(reversed(target.split("/")))
        return self.entries.get(done) or Entry(Kind.FILE, done, "")

    def _content(self, source: str, links: int) -> Iterator[tuple[str, Entry]]:
        if source.startswith("/"):
            yield "", Entry(Kind.OUTSIDE, source, source)
            return
        place = self.real(source)
        if place.path in self.entries or place.kind is Kind.OUTSIDE:
            yield "", place
            return
        inside = list(self._beginning(f"{place.path}/"))
        for path in inside:
            yield from self._within(path, path.removeprefix(f"{place.path}/"), links)
        for path in [] if inside else self._beginning(f"{place.path}."):  # A checkpoint.
            name = path.removeprefix(f"{PurePosixPath(place.path).parent}/")
            if "/" not in name:
                yield from self._within(path, name, links)

    def _within(self, path: str, name: str, links: int) -> Iterator[tuple[str, Entry]]:
        """Yields the entries that a path in a folder contributes: one, or those that a link leads to."""
        entry = self.entries[path]
        if entry.kind is not Kind.LINK:
            yield name, entry
            return
        target = self.real(path)
        is_circle = f"{path}/".startswith(f"{target.path}/") and target.kind is Kind.FILE
        if links and not is_circle:
            inside = list(self._content(target.path if target.kind is Kind.FILE else path, links - 1))
            for below, each in inside or [("", Entry(Kind.OUTSIDE, path, target.path))]:
                yield f"{name}/{below}" if below else name, each

    def _beginning(self, prefix: str) -> Iterator[str]:
        at = bisect_left(self._paths, prefix)
        while at < len(self._paths) and self._paths[at].startswith(prefix):
            yield self._paths[at]
            at += 1
