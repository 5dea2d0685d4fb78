"""A git revision of the project, to compare the working tree with; submodules are read like folders."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.snapshot import Entry, Kind, Snapshot, same_content
from qatbuild.engine.walk import tree
from qatbuild.exchange.errors import ArtifactError

_KINDS = {"100644": Kind.FILE, "100755": Kind.FILE, "120000": Kind.LINK, "160000": Kind.SUBMODULE}
_NOW = "now"
"""Stands for the commit of a submodule that is not the revision's."""


class _Part(NamedTuple):
    """A repository, or a submodule, at a commit. `prefix` begins the paths of its files: '' or "models/data/"."""

    prefix: str
    top: Path
    commit: str
    entries: list[Entry]


class Revision:
    """The files of a revision, and the changes since, committed or not."""

    def __init__(self, root: Path, name: str) -> None:
        """Finds the revision `name` of the repository around `root`. ArtifactError for an unknown revision."""
        self.name = name
        self.top = Path(os.fsdecode(self._git(root, "rev-parse", "--show-toplevel")).rstrip("\n"))
        commit = self._git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        self.commit = commit.decode().strip()

    @cached_property
    def changed(self) -> set[str]:
        """The files that differ from the revision, relative to the repository, without ignored ones."""
        return {name for part in self._parts for name in self._changed(part)}

    @cached_property
    def then(self) -> Snapshot:
        """The files of the revision. Of a submodule that is not checked out, only its commit."""
        read = {part.prefix.rstrip("/") for part in self._parts}
        entries = [entry for part in self._parts for entry in part.entries if entry.path not in read]
        return Snapshot(str(self.top), entries)

    @cached_property
    def now(self) -> Snapshot:
        """The files of the working tree. The blobs of changed files are computed when `blobs` is asked for them."""
        entries = {path: entry for path, entry in self.then.entries.items() if path not in self.changed}
        for name in self.changed:
            path = self.top / name
            try:
                mode = path.lstat().st_mode
            except OSError:
                continue
            if stat.S_ISLNK(mode):
                entries[name] = Entry(Kind.LINK, name, os.readlink(path))  # noqa: PTH115  A Path would drop "./".
            elif stat.S_ISREG(mode):
                entries[name] = Entry(Kind.FILE, name, "")
            elif stat.S_ISDIR(mode):
                entries[name] = Entry(Kind.SUBMODULE, name, _NOW)
        return Snapshot(str(self.top), entries.values())

    def same(self, before: str, after: str) -> bool:
        """Returns whether a source had the same content then, at `before`, as it has now, at `after`.

        Where git knows no content, as for ignored files, a source is the same if its path, links followed, is.
        """
        former, present = self.then.content(before), self.now.content(after)
        if former.keys() != present.keys():
            return False
        if not former:
            return self.then.real(before).path == self.now.real(after).path
        if any(one.kind is not present[name].kind for name, one in former.items()):
            return False
        unknown = [each.path for each in present.values() if each.kind is Kind.FILE and not each.value]
        blobs = self._blobs(unknown)
        hashed = {name: each._replace(value=blobs.get(each.path) or each.value) for name, each in present.items()}
        return same_content(former, hashed)

    def extract(self, folder: Path, places: Iterable[str], wanted: Callable[[str], bool]) -> None:
        """Writes the revision's wanted files at or below `places` into `folder`, at their paths in the repository.

        Links are written, too, and the wanted files that they lead to.
        """
        names, seen, waiting = set[str](), set[str](), list(places)
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            for name in self.then.below(place):
                entry = self.then.entries[name]
                if entry.kind is Kind.LINK:
                    _link(folder, self.top, entry)
                    target = self.then.real(name)
                    if target.kind is Kind.FILE:
                        waiting.append(target.path)
                        names |= {target.path} & self.then.entries.keys() if wanted(name) else set()
                elif entry.kind is Kind.FILE and wanted(name):
                    names.add(name)
        for part in self._parts:
            self._write(part, folder, [entry for entry in part.entries if entry.path in names])

    @cached_property
    def _parts(self) -> list[_Part]:
        return list(self._below("", self.top, self.commit))

    def _below(self, prefix: str, top: Path, commit: str) -> Iterator[_Part]:
        """Yields a repository, and its submodules that are checked out and have the commit that it names."""
        rows = os.fsdecode(self._git(top, "ls-tree", "-r", "-z", commit)).split("\0")
        entries = []
        for about, _, name in (row.partition("\t") for row in rows if row):
            mode, _, blob = about.split()
            entries.append(Entry(_KINDS[mode], f"{prefix}{name}", blob))
        links = [entry for entry in entries if entry.kind is Kind.LINK]
        targets = dict(zip(links, self._contents(top, links), strict=True))
        entries = [entry._replace(value=os.fsdecode(targets.get(entry, entry.value))) for entry in entries]
        yield _Part(prefix, top, commit, entries)
        for entry in entries:
            inside = self.top / entry.path
            if entry.kind is Kind.SUBMODULE and (inside / ".git").exists() and self._has(inside, entry.value):
                yield from self._below(f"{entry.path}/", inside, entry.value)

    def _has(self, top: Path, commit: str) -> bool:
        try:
            self._git(top, "cat-file", "-e", f"{commit}^{{commit}}")
        except ArtifactError:
            return False
        return True

    def _changed(self, part: _Part) -> Iterator[str]:
        differing = self._git(
            part.top, "diff", "--name-only", "--no-renames", "--ignore-submodules=dirty", "-z", part.commit, "--"
        )
        untracked = self._git(part.top, "ls-files", "--others", "--exclude-standard", "-z")
        read = {other.prefix.rstrip("/") for other in self._parts}
        for name in os.fsdecode(differing + untracked).split("\0"):
            path = f"{part.prefix}{name}"
            if name.endswith("/"):  # A repository that is no submodule: git looks no further.
                files = tree(str(self.top / path), [".git"])[1]
                yield from (Path(os.path.relpath(file, self.top)).as_posix() for file in files)
            elif name and path not in read:
                yield path

    def _contents(self, top: Path, entries: list[Entry]) -> Iterator[bytes]:
        """Yields the contents of blobs."""
        output = self._git(top, "cat-file", "--batch", text="".join(f"{each.value}\n" for each in entries).encode())
        at = 0
        for _ in entries:
            head, start = output[at : (end := output.index(b"\n", at))], end + 1
            at = start + int(head.split()[2]) + 1
            yield output[start : at - 1]

    def _write(self, part: _Part, folder: Path, entries: list[Entry]) -> None:
        for entry, data in zip(entries, self._contents(part.top, entries), strict=True):
            path = folder / entry.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def _blobs(self, paths: Iterable[str]) -> dict[str, str]:
        """Returns the blobs that git would make of changed files."""
        left, blobs = set(paths), dict[str, str]()
        for part in reversed(self._parts):  # A submodule comes after the repository around it, and has its own filters.
            inside = sorted(path for path in left if path.startswith(part.prefix))
            left -= {*inside}
            if inside:
                names = "".join(f"{path.removeprefix(part.prefix)}\n" for path in inside)
                hashed = self._git(part.top, "hash-object", "--stdin-paths", text=os.fsencode(names))
                blobs |= zip(inside, hashed.decode().split(), strict=True)
        return blobs

    def _git(self, folder: Path, *arguments: str, text: bytes = b"") -> bytes:
        try:
            command = ["git", "-C", str(folder), *arguments]
            english = {**os.environ, "LC_ALL": "C"}  # The hint depends on what git says.
            done = subprocess.run(command, input=text, capture_output=True, check=False, env=english)
        except FileNotFoundError as fault:
            raise ArtifactError("git is not installed.", [("revision", self.name)], "install git") from fault
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip() or "unknown revision"
            facts = [("revision", self.name), ("git says", said)]
            hint = "name a commit, a branch or a tag that this clone has; a shallow one has few (git fetch --unshallow)"
            if "not a git repository" in said:
                hint = "git init, and commit what is to be compared; `doit report --compare A B` needs no git"
            raise ArtifactError("git cannot compare the working tree with the revision.", facts, hint)
        return done.stdout


class Span(NamedTuple):
    """The time from a revision to another one, or to the working tree (None)."""

    former: Revision
    present: Revision | None = None

    @property
    def changed(self) -> set[str]:
        """The files that differ, relative to the repository, without ignored ones."""
        if self.present is None:
            return self.former.changed
        return self.former.then.differing(self.present.then)

    def same(self, before: str, after: str) -> bool:
        """Returns whether a source has the same content at both times; see Revision.same."""
        if self.present is None:
            return self.former.same(before, after)
        one, other = self.former.then.content(before), self.present.then.content(after)
        if one or other:
            return same_content(one, other)
        return self.former.then.real(before).path == self.present.then.real(after).path


def _link(folder: Path, top: Path, entry: Entry) -> None:
    """Makes a link of the revision below `folder`; if it leads out of the repository, to where it leads there."""
    path, target = folder / entry.path, Path(os.path.normpath(top / Path(entry.path).parent / entry.value))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_symlink():
        path.symlink_to(folder / target.relative_to(top) if target.is_relative_to(top) else target)
