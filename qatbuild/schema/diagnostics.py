"""Shows faults of specs as a compiler does: file, line and column, the line itself, and carets under the token.

specs/net.json:4:24  /input/std  unknown field. Did you mean "std_dev"?
   4 |   "input": {"mean": 1, "std": 2},
     |                        ^^^^^
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from qatbuild.exchange.errors import LINES, Facts, SpecError, printable
from qatbuild.exchange.files import read_bytes
from qatbuild.schema.positions import Keys, Positions, Span

_WIDEST = 100
"""Most characters of a line that are shown; of a longer one, those around the token."""

_SHOWN_BEFORE = 30
"""Number of characters that are shown before a token in the middle of a long line."""

_LONGEST_POINTER, _LONGEST_TEXT = 200, 400


class Place(NamedTuple):
    """A token in a file: line and column from 1 on, its length in characters, and the text of its line."""

    file: Path
    line: int
    column: int
    length: int
    text: str

    @property
    def shown(self) -> str:
        """The place as terminals and editors recognize it: FILE:LINE:COLUMN."""
        near = os.path.relpath(self.file)
        return f"{printable(str(self.file) if near.startswith('..') else near)}:{self.line}:{self.column}"

    def lines(self) -> list[str]:
        """Returns the line and below it the carets."""
        start = self.column - 1
        cut = max(0, start - _SHOWN_BEFORE) if len(self.text) > _WIDEST else 0
        before = printable(self.text[cut:start].expandtabs(1))
        token = printable(self.text[start : min(start + self.length, cut + _WIDEST)].expandtabs(1))
        after = printable(self.text[start + self.length : cut + _WIDEST].expandtabs(1))
        carets = "^" * max(1, min(len(token), _WIDEST - len(before)))
        number = f"{self.line:>5}"
        line = f"{'... ' * bool(cut)}{before}{token}{after}"[:_WIDEST].rstrip()
        below = f"{' ' * len(number)} | {'    ' * bool(cut)}{' ' * len(before)}{carets}"
        return [f"{number} | {line}", below]


class Diagnostic(NamedTuple):
    """One fault of a spec: JSON pointer, sentence, place, and notes with the places that brought the value.

    `replacement` is the JSON text that corrects a misspelt token, '' for any other fault. Without a place the file
    can no longer be read.
    """

    pointer: str
    text: str
    place: Place | None
    notes: tuple[tuple[str, Place], ...] = ()
    replacement: str = ""

    @property
    def title(self) -> str:
        """The fault in one line, with its place."""
        where = self.place.shown if self.place else ""
        rows = (where, printable(self.pointer, _LONGEST_POINTER), printable(self.text, _LONGEST_TEXT))
        return "  ".join(filter(None, rows))


class FaultySpecError(SpecError):
    """A spec with faults, all of them at once."""

    def __init__(self, message: str, facts: Facts, diagnostics: Iterable[Diagnostic], hint: str = "") -> None:
        """Makes an error; `facts` are for scripts and say the same as the diagnostics."""
        super().__init__(message, facts, hint)
        self.diagnostics = tuple(diagnostics)

    def block(self) -> str:
        """Returns the error as text: with the lines of the files, if all of that is at most LINES lines."""
        if not self.diagnostics or any(each.place is None for each in self.diagnostics):
            return super().block()
        shown = set[Place]()
        rows = [line for each in self.diagnostics for line in _rows(each, shown)]
        hint = [f"  hint: {printable(self.hint)}"] if self.hint else []
        if len(rows) + len(hint) < LINES:
            return "\n".join([self.message, *rows, *hint])
        titles = [f"  {each.title}" for each in self.diagnostics]
        room = LINES - 1 - len(hint)
        more = [f"  and {len(titles) - room + 1} more"] if len(titles) > room else []
        return "\n".join([self.message, *(titles[: room - 1] if more else titles), *more, *hint])


def _rows(diagnostic: Diagnostic, shown: set[Place]) -> Iterator[str]:
    """Yields the lines of a fault; a place of a note that is in `shown` is not shown again."""
    assert diagnostic.place is not None
    yield f"  {diagnostic.title}"
    yield from diagnostic.place.lines()
    for remark, place in diagnostic.notes:
        if place not in shown:
            yield f"  {place.shown}  {printable(remark)}"
            yield from place.lines()
    shown.update(place for _, place in diagnostic.notes)


class Sources:
    """The texts of spec files and the positions in them; each file is read once, for its first fault."""

    def __init__(self) -> None:
        """Begins without files."""
        self._texts: dict[Path, tuple[str, Positions]] = {}

    def place(self, file: Path, path: Sequence[str | int], *, at_key: bool = False) -> Place | None:
        """Returns where a value stands, or with `at_key` its key.

        Of a value that is missing it is the key of the object in which it belongs. None if the file cannot be read.
        """
        try:
            text, positions = self._scanned(file)
        except (OSError, ValueError):
            return None
        nearest = positions.nearest(tuple(path))
        if nearest is None:
            return None
        keys, member = nearest
        is_whole = keys == tuple(path) != ()
        return place_of(file, text, (member.value if is_whole and not at_key else member.key) or _opening(member.value))

    def _scanned(self, file: Path) -> tuple[str, Positions]:
        if file not in self._texts:
            text = read_bytes(file).decode("utf-8-sig")
            self._texts[file] = text, Positions(text)
        return self._texts[file]


def place_of(file: Path, text: str, span: Span) -> Place:
    """Returns the place of a span; of one of several lines, only its first line is underlined."""
    start = text.rfind("\n", 0, span.start) + 1
    end = text.find("\n", span.start)
    line = text[start : end if end >= 0 else len(text)]
    length = min(span.end, start + len(line.rstrip())) - span.start
    return Place(file, text.count("\n", 0, span.start) + 1, span.start - start + 1, max(length, 1), line)


def _opening(span: Span) -> Span:
    return Span(span.start, span.start + 1)


def pointer(path: Keys | Sequence[str | int]) -> str:
    """Returns the JSON pointer (RFC 6901) of a path; '/' for the whole document."""
    return "/" + "/".join(str(key).replace("~", "~0").replace("/", "~1") for key in path)
