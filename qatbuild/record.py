"""The record of what was up to date: so that a build with nothing to do looks at files, and not into specs.

For every spec that was wholly up to date it names groups of files: the spec and what it extends, the user's data and
code, and what each of its stages left. As long as the state of a file (ctime, size, inode) is the recorded one, its
content is what was verified: a ctime cannot be set. What differs is loaded, planned and verified as if there were no
record, and so is everything if the record is missing, broken, or of another environment.

A file that changed after its content was looked at must not get in with its new state. So a state is recorded only if
the file's ctime lies before the moment at which looking began; any other one is recorded as unknown, and looked at
again.

    line of JSON: environment, lengths, checksum | paths, one a line | three int64 a path | JSON: groups, specs
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path

from qatbuild.memory import TICK_NS

_MISSING = (-1, -1, -1)
_UNKNOWN = (0, 0, 0)
_WIDTH = 3
_INODE = (1 << 63) - 1

State = tuple[int, int, int]
"""ctime in ns, bytes, inode."""


class Record:
    """Groups of files with their states, and the specs that rest on them."""

    def __init__(self, environment: str = "") -> None:
        """An empty record."""
        self.environment = environment
        self.files: dict[str, list[str]] = {}
        self.states: dict[str, list[State]] = {}
        self.specs: dict[str, Entry] = {}
        self.others: list[str] = []
        """Specs that there are and that were not up to date."""
        self.count = 0
        """How many stages the specs have."""
        self._groups: list[tuple[str, int]] | None = None
        self._paths: list[str] = []
        self._values = array("q")
        self._body: bytes = b""

    @classmethod
    def load(cls, path: Path, environment: str) -> Record | None:
        """The record in a file; None if there is none, or it is broken, or of another environment."""
        try:
            head, _, rest = path.read_bytes().partition(b"\n")
            fields = json.loads(head)
            if fields["environment"] != environment or fields["crc"] != zlib.crc32(rest):
                return None
            first, second = fields["lengths"]
            record = cls(environment)
            record.count, record.others = fields["count"], fields["others"]
            record._paths = os.fsdecode(rest[:first]).split("\n")
            record._values.frombytes(rest[first : first + second])
            record._body = rest[first + second :]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if len(record._values) == _WIDTH * len(record._paths) else None

    def differing(self) -> set[str]:
        """The names of the groups in which a file is not what it was."""
        now = _states(self._paths)
        if now == self._values:
            return set()
        self.read()
        assert self._groups is not None
        starts = [start for _, start in self._groups]
        width, former = _WIDTH, self._values
        changed = [at for at in range(0, len(now), width) if now[at : at + width] != former[at : at + width]]
        return {self._groups[bisect_right(starts, at // width) - 1][0] for at in changed}

    def read(self) -> None:
        """Read what a record without differences need not: which specs there are, and what they rest on."""
        if self._groups is not None or not self._body:
            return
        body = json.loads(self._body)
        self._groups = groups = body["groups"]
        names = [name for name, _ in groups]
        self.specs = {
            name: Entry(tuple(stages), tuple(names[number] for number in numbers), routes)
            for name, (stages, numbers, routes) in body["specs"].items()
        }

    def put(self, group: str, files: Iterable[str], looked_since_ns: int) -> None:
        """A group of files whose content was looked at, at the earliest at the given time."""
        names = list(files)
        values = _states(names)
        states = [(values[index], values[index + 1], values[index + 2]) for index in range(0, len(values), _WIDTH)]
        trusted = [state if state[0] < looked_since_ns - TICK_NS else _UNKNOWN for state in states]
        self.files[group], self.states[group] = names, trusted

    def absent(self, group: str, files: Iterable[str]) -> None:
        """A group of files that were looked for, and were not there."""
        self.files[group] = list(files)
        self.states[group] = [_MISSING] * len(self.files[group])

    def save(self, path: Path) -> None:
        """Write the record, in one piece or not at all. It is no error if that cannot be done."""
        used = {group for entry in self.specs.values() for group in entry.groups} | GLOBAL
        paths: list[str] = []
        values = array("q")
        groups = []
        for group in self.files:
            if group in used:
                groups.append((group, len(paths)))
                paths += self.files[group]
                for state in self.states[group]:
                    values.extend(state)
        numbers = {group: number for number, (group, _) in enumerate(groups)}
        specs = {
            name: [entry.stages, [numbers[group] for group in entry.groups], entry.routes]
            for name, entry in self.specs.items()
        }
        body = json.dumps({"groups": groups, "specs": specs}, separators=(",", ":")).encode()
        first, second = os.fsencode("\n".join(paths)), values.tobytes()
        rest = first + second + body
        head = {
            "environment": self.environment,
            "count": len({id_ for entry in self.specs.values() for id_ in entry.stages}),
            "others": self.others,
            "lengths": [len(first), len(second)],
            "crc": zlib.crc32(rest),
        }
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            draft.write_bytes(json.dumps(head).encode() + b"\n" + rest)
            draft.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    def unfold(self) -> None:
        """Make the groups of a loaded record ready to be written again."""
        self.read()
        if self._groups is None:
            return
        ends = [start for _, start in self._groups[1:]] + [len(self._paths)]
        values = self._values
        for (group, start), end in zip(self._groups, ends, strict=True):
            self.files[group] = self._paths[start:end]
            self.states[group] = [
                (values[index], values[index + 1], values[index + 2])
                for index in range(start * _WIDTH, end * _WIDTH, _WIDTH)
            ]


GLOBAL = {"engine", "packages", "absent", "folders"}
"""Groups that concern every spec: qatbuild itself, installed packages, modules that are not there, folders of specs."""


class Entry:
    """A spec that is up to date: the ids of its stages, the groups of files that this rests on, routes by label."""

    __slots__ = ("groups", "routes", "stages")

    def __init__(self, stages: tuple[str, ...], groups: tuple[str, ...], routes: dict[str, list[str]]) -> None:
        """All as they are."""
        self.routes = routes
        self.stages = stages
        self.groups = groups


def _states(paths: Iterable[str]) -> array[int]:
    """ctime, size and inode of each file, following links."""
    stat, values = os.stat, array("q")
    extend = values.extend
    for path in paths:
        try:
            found = stat(path)
        except (OSError, ValueError):
            extend(_MISSING)
        else:
            extend((found.st_ctime_ns, found.st_size, found.st_ino & _INODE))
    return values
