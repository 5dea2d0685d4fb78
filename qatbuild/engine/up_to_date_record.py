"""The record of up-to-date specs: with it, a build with nothing to do only compares the states of files.

An up-to-date spec depends on groups of files: the spec and its bases, the user's data and code, the results of each of
its stages. While a file has its recorded state (ctime, size, inode), its content is the verified one, because a ctime
cannot be set. Specs with a different file are loaded, planned and verified as without a record; so are all specs if the
record is missing, broken, or of another environment.

A file that changed after its content was verified must not be recorded with its new state. So a state is recorded only
if the file's ctime lies before the verification began; any other file is recorded as unknown, and verified again.

    line of JSON: environment, number of stages, specs that were not up to date, state of the pages, lengths
    paths, one a line | three int64 a path | number of paths of each group, int64 | names of groups, one a line
    of each spec, one a line: names | numbers of groups | JSON of its description, labels and routes
    JSON of the code digests that depend on the group `engine` alone | checksum

It is not a database because reading 100,000 rows from one takes longer than the rest of a build with nothing to do.
A group keeps its number, so a spec that changes costs only what belongs to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate, count, pairwise
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.file_states import MISSING, UNKNOWN, WIDTH, changed, states
from qatbuild.exchange.file_state import is_settled
from qatbuild.exchange.files import make_way, parse_json, read_bytes

ENGINE, PACKAGES, ABSENT, FOLDERS = "engine", "packages", "absent", "folders"
GLOBAL = {ENGINE, PACKAGES, ABSENT, FOLDERS}
"""Groups that concern every spec: qatbuild itself, installed packages, missing modules, folders of specs."""

_CRC_BYTES = 8
"""The length of the checksum at the end of the file, which covers all before it."""

PAGES = "pages"
"""The group of report.html and junit.xml, on which no spec depends."""

STAGE = "stage "
"""Prefix of the name of a stage's group, followed by the stage's id."""

SOURCE = "source "
"""Prefix of the name of a source's group, followed by its path, which is also the first file of the group."""


class Recorded(NamedTuple):
    """The recorded data of a spec: its description, and its labels with their routes."""

    description: str
    routes: Mapping[str, list[str]]


class Record:
    """Groups of files with their states, and the specs that depend on them."""

    def __init__(self, environment: str = "") -> None:
        """An empty record."""
        self.environment = environment
        self.others: list[str] = []
        """The specs that were not up to date."""
        self.count = 0
        """The number of stages of the recorded specs, at the time of the record."""
        self.pages = ""
        """The state of the file of report/pages.py when it last showed all recorded reports."""
        self.untold: list[str] = []
        """The specs whose reports have changed since then."""
        self._paths: list[bytes] = []
        self._values = array("q")
        self._sizes = array("q")
        self._names: list[str] = []
        self._specs: dict[str, tuple[str, str]] = {}
        self._code = "{}"
        self._text: list[bytes] | None = None
        self._new: dict[str, tuple[list[bytes], array[int]]] = {}
        self._entered: dict[str, tuple[list[str], str]] = {}
        self._left: set[int] = set()

    @classmethod
    def load(cls, path: Path, environment: str) -> Record | None:
        """Loads the record in a file; None if it is missing, broken or of another environment."""
        try:
            data = read_bytes(path)
            end = data.index(b"\n")
            fields, rest = parse_json(data[:end]), memoryview(data)[end + 1 : -_CRC_BYTES]
            if fields["environment"] != environment or data[-_CRC_BYTES:] != _crc(memoryview(data)[:-_CRC_BYTES]):
                return None
            ends = [0, *accumulate(fields["lengths"])]
            paths, values, *texts = (rest[start:end].tobytes() for start, end in pairwise(ends))
            record = cls(environment)
            record.count, record.others = fields["count"], fields["others"]
            record.pages, record.untold = fields["pages"], fields["untold"]
            record._paths = paths.split(b"\n") if paths else []
            record._values.frombytes(values)
            record._text = texts
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if len(record._values) == WIDTH * len(record._paths) else None

    @property
    def specs(self) -> list[str]:
        """The names of the recorded specs."""
        self._read()
        return list(self._specs)

    def differing(self) -> set[str]:
        """Returns the names of the groups in which a file differs."""
        now = states(self._paths, self._values)
        if now == self._values:
            return set()
        self._read()
        starts = [0, *accumulate(self._sizes)]
        return {self._names[bisect_right(starts, at) - 1] for at in changed(self._values, now)}

    def differing_in(self, looked_at: Callable[[str], int]) -> set[str]:
        """Returns the names of the groups in which a file differs, checking only the first files of each group."""
        self._read()
        names: list[str] = []
        paths: list[bytes] = []
        values = array("q")
        end = 0
        for name, size in zip(self._names, self._sizes, strict=True):
            start, end = end, end + size
            if count := min(size, looked_at(name)):
                names += [name] * count
                paths += self._paths[start : start + count]
                values += self._values[start * WIDTH : (start + count) * WIDTH]
        return {names[at] for at in changed(values, states(paths))}

    def resting(self, groups: Iterable[str]) -> set[str]:
        """Returns the specs that depend on any of these groups."""
        self._read()
        wanted = set(groups)
        numbers = {str(number) for number, name in enumerate(self._names) if name in wanted}
        if not numbers:
            return set()
        return {spec for spec, (row, _) in self._specs.items() if not numbers.isdisjoint(row.split(","))}

    def count_stages(self, specs: Iterable[str], besides: Iterable[str] = ()) -> int:
        """Returns the number of stages of these specs, without the stage ids in `besides`."""
        self._read()
        wanted = set(specs)
        others = self._numbers(spec for spec in self._specs if spec not in wanted)
        without = {self._names[number] for number in others - self._shared(others, wanted)}
        without |= {f"{STAGE}{id_}" for id_ in besides}.intersection(self._names)
        return self.count - sum(name.startswith(STAGE) for name in without)

    def recorded(self, specs: Iterable[str]) -> list[Recorded]:
        """Returns the recorded data of each of these specs."""
        self._read()
        rows = json.loads(f"[{','.join(self._specs[name][1] for name in specs)}]")
        return [Recorded(description, routes) for description, routes in rows]

    def routes(self, specs: Iterable[str]) -> dict[str, list[str]]:
        """Returns the routes by label of these specs."""
        return {label: routes for spec in self.recorded(specs) for label, routes in spec.routes.items()}

    def digests(self) -> dict[str, tuple[str, list[str]]]:
        """Returns the recorded code digests: modules, joined by commas -> (digest, files)."""
        self._read()
        return {modules: (digest, files) for modules, (digest, files) in json.loads(self._code).items()}

    def keep(self, digests: Mapping[str, tuple[str, list[str]]]) -> None:
        """Records code digests, which are valid while no group of GLOBAL differs."""
        self._read()
        self._code = json.dumps(digests)

    def put(self, group: str, files: Iterable[str], looked_since_ns: int) -> None:
        """Records a group of files whose content was verified at the given time or later."""
        names = list(map(os.fsencode, files))
        values = states(names)
        for at in range(0, len(values), WIDTH):
            if not is_settled(values[at], looked_since_ns):
                values[at : at + WIDTH] = array("q", UNKNOWN)
        self._new[group] = names, values

    def absent(self, files: Iterable[str]) -> None:
        """Records more files that were looked up and do not exist."""
        self._read()
        former: list[bytes] = []
        if ABSENT in self._names:
            start = sum(self._sizes[: self._names.index(ABSENT)])
            former = self._paths[start : start + self._sizes[self._names.index(ABSENT)]]
        names = list(dict.fromkeys([*former, *map(os.fsencode, files)]))
        if names != former:
            self._new[ABSENT] = names, array("q", MISSING * len(names))

    def enter(self, spec: str, groups: Iterable[str], recorded: Recorded) -> None:
        """Records an up-to-date spec, and the groups of files on which that depends."""
        self._entered[spec] = list(groups), json.dumps(recorded)

    def leave(self, specs: Iterable[str]) -> None:
        """Removes specs from the record."""
        self._read()
        gone = [spec for spec in specs if spec in self._specs]
        self._left |= self._numbers(gone)
        for spec in gone:
            del self._specs[spec]

    def save(self, path: Path, present: Iterable[str]) -> None:
        """Writes the record atomically. `present` are all specs. A failure is ignored."""
        self._settle()
        self.others = [spec for spec in present if spec not in self._specs]
        names = os.fsencode("\n".join(self._names))
        specs = (self._specs, *(zip(*self._specs.values(), strict=True) if self._specs else ([], [])))
        parts = [
            b"\n".join(self._paths),
            self._values.tobytes(),
            self._sizes.tobytes(),
            names,
            *(os.fsencode("\n".join(texts)) for texts in specs),
            os.fsencode(self._code),
        ]
        rest = b"".join(parts)
        head = {
            "environment": self.environment,
            "count": f"\n{os.fsdecode(names)}".count(f"\n{STAGE}"),
            "others": self.others,
            "pages": self.pages,
            "untold": self.untold,
            "lengths": [len(part) for part in parts],
        }
        data = json.dumps(head).encode() + b"\n" + rest
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            draft.write_bytes(data + _crc(data))
            make_way(path)
            path.unlink(missing_ok=True)  # ext4 would flush a file that replaces another, which is slow.
            draft.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    def _settle(self) -> None:
        """Puts new groups and specs in their places.

        A group that changed removes the specs that depended on its former state, because they were not verified.
        """
        self._read()
        places = {name: number for number, name in enumerate(self._names) if name}
        used = {*GLOBAL, PAGES}.union(*(groups for groups, _ in self._entered.values()))
        new = {group: files for group, files in self._new.items() if group in used}
        starts = [0, *accumulate(self._sizes)]

        def former(number: int) -> tuple[list[bytes], array[int]]:
            start, end = starts[number], starts[number + 1]
            return self._paths[start:end], self._values[start * WIDTH : end * WIDTH]

        other = [group for group in new if group not in places or new[group] != former(places[group])]
        self.leave({*self.resting(places.keys() & {*other} - GLOBAL), *self._entered})
        unused = self._left - self._shared(self._left, self._specs)
        unused -= {places[group] for group in used if group in places}
        edits: dict[int, tuple[str, tuple[list[bytes], array[int]]]] = {
            number: ("", ([], array("q"))) for number in unused
        }
        holes = sorted({number for number, name in enumerate(self._names) if not name} | unused)
        end = count(len(self._names))
        for group in other:
            if group not in places:
                places[group] = holes.pop() if holes else next(end)
            edits[places[group]] = group, new[group]
        self._edit(edits, starts)
        for spec, (groups, routes) in self._entered.items():
            self._specs[spec] = ",".join(str(places[group]) for group in groups), routes
        self._new, self._entered, self._left = {}, {}, set()

    def _edit(self, edits: Mapping[int, tuple[str, tuple[list[bytes], array[int]]]], starts: list[int]) -> None:
        """Replaces groups by number: names, paths and values. New numbers come last."""
        paths: list[bytes] = []
        values = array("q")
        at = 0
        for number in sorted(edits):
            name, (files, states) = edits[number]
            place = min(number, len(starts) - 1)
            paths += self._paths[at : starts[place]]
            values += self._values[at * WIDTH : starts[place] * WIDTH]
            if number < len(starts) - 1:
                self._names[number], self._sizes[number], at = name, len(files), starts[number + 1]
            else:
                self._names.append(name)
                self._sizes.append(len(files))
                at = starts[-1]
            paths += files
            values += states
        self._paths = paths + self._paths[at:]
        self._values = values + self._values[at * WIDTH :]

    def _read(self) -> None:
        """Reads the names of groups and specs, which are only needed if a file differs."""
        if self._text is None:
            return
        sizes, *texts, code = self._text
        self._text = None
        self._sizes.frombytes(sizes)
        self._code = os.fsdecode(code)
        groups, names, numbers, routes = map(_lines, texts)
        self._names = groups or [""] * len(self._sizes)  # A single unused place is an empty text.
        self._specs = dict(zip(names, zip(numbers, routes, strict=True), strict=True))

    def _numbers(self, specs: Iterable[str]) -> set[int]:
        """Returns the numbers of the groups that these specs depend on."""
        return {int(number) for number in self._texts(specs)}

    def _shared(self, numbers: Iterable[int], specs: Iterable[str]) -> set[int]:
        """Returns those of the numbered groups on which any of these specs depends, too."""
        used = self._texts(specs)
        return {number for number in numbers if str(number) in used}

    def _texts(self, specs: Iterable[str]) -> set[str]:
        return {*",".join(self._specs[spec][0] for spec in specs).split(",")} - {""}


def _crc(data: bytes | memoryview) -> bytes:
    return b"%08x" % zlib.crc32(data)


def _lines(text: bytes) -> list[str]:
    return os.fsdecode(text).split("\n") if text else []
