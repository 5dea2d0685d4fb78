"""Corrects misspelt tokens of spec files, where the fault says what was meant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from qatbuild.exchange.errors import QatbuildError
from qatbuild.exchange.files import read_bytes, write_text
from qatbuild.schema.diagnostics import Diagnostic, FaultySpecError


class Correction(NamedTuple):
    """One corrected token: its place as FILE:LINE:COLUMN, what it was, what it is."""

    where: str
    former: str
    now: str


def correct(errors: Iterable[QatbuildError], root: Path) -> list[Correction]:
    """Replaces the misspelt tokens of these errors in the files below `root`; returns what was replaced.

    A file that has changed since it was read stays as it is. OSError if a file cannot be written.
    """
    by_file: dict[Path, dict[Diagnostic, None]] = {}
    for error in errors:
        for each in error.diagnostics if isinstance(error, FaultySpecError) else ():
            if each.place is not None and each.replacement and each.place.file.absolute().is_relative_to(root):
                by_file.setdefault(each.place.file, {})[each._replace(pointer="", text="", notes=())] = None
    return [correction for file, misspelt in by_file.items() for correction in _in_file(file, misspelt)]


def _in_file(file: Path, misspelt: Iterable[Diagnostic]) -> list[Correction]:
    """Replaces tokens of one file, the last one first: the places of the others stay valid."""
    lines = read_bytes(file).decode().split("\n")
    corrections = []
    for place, replacement in sorted(((each.place, each.replacement) for each in misspelt if each.place), reverse=True):
        bom = "\ufeff" if place.line == 1 and lines[0].startswith("\ufeff") else ""
        line = lines[place.line - 1].removeprefix(bom)
        if line != place.text:
            continue
        start, end = place.column - 1, place.column - 1 + place.length
        lines[place.line - 1] = f"{bom}{line[:start]}{replacement}{line[end:]}"
        corrections.append(Correction(place.shown, line[start:end], replacement))
    if corrections:
        write_text(file, "\n".join(lines))
    return corrections[::-1]
