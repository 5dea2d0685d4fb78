"""`doit why`: prints what made two results differ, down to fields, files, packages and lines of code."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from qatbuild.engine.why.causes import Cause, Side, causes
from qatbuild.engine.why.sides import Sides
from qatbuild.exchange.errors import SpecError, printable
from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.session import Session

_MOST_LINES = 20
_LONGEST_LINE = 160
_KEY_DIGITS = 12


class Why(SpecCommand):
    """Compares the origins of two results."""

    name = "why"
    doc_purpose = "print what made two results differ"
    doc_usage = "A B"
    doc_description = (
        "A and B are each LABEL:STAGE (its last run; without :STAGE its evaluation), a key or its first 8 or more"
        " digits, the file STAGE.request.json of a result, or the build folder or project of another checkout. Inputs"
        " that differ are followed to what made them differ. Exit status as of diff: 0 if the two were made from the"
        " same, 1 if not."
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the causes; returns 1 if the two results, or what they were made from, differ."""
        if len(names) != 2:  # noqa: PLR2004
            raise SpecError("doit why compares two results.", [("got", " ".join(names) or "nothing")], _usage(session))
        one, other = Sides(session.loaded, session.builder.store).pair(*map(session.within, names))
        rows = causes(one, other)
        if options["json"]:
            write_json(to_json(one, other, rows))
        else:
            sys.stdout.writelines(f"{line}\n" for line in lines(one, other, rows))
        return 0 if is_equal(one, other, rows) else 1

    def _session(self, sessions: list[Session], names: list[str]) -> Session:
        """Returns the session of the labels among the names; the others are keys and paths."""
        prefixes = tuple(f"{each.prefix}/" for each in sessions if each.prefix)
        return super()._session(sessions, [name for name in names if name.startswith(prefixes)])


def _usage(session: Session) -> str:
    label = session.task(next(iter(session.plan.labels), "LABEL"))
    return f"doit why {label}:float ../other-checkout"


def is_equal(one: Side, other: Side, rows: Sequence[Cause]) -> bool:
    """Returns whether two results have the same key, and nothing else of them differs."""
    return one.origin.request.key == other.origin.request.key and not rows


def to_json(one: Side, other: Side, rows: Sequence[Cause]) -> dict[str, Any]:
    """Returns a comparison as plain data."""
    return {
        "stage": one.origin.request.stage,
        "results": [{"name": each.name, "key": each.origin.request.key, "at": _at(each)} for each in (one, other)],
        "equal": is_equal(one, other, rows),
        "causes": [
            {**row.reason.to_json(), "stages": row.stages, "lines": [line._asdict() for line in row.lines]}
            for row in rows
        ],
    }


def lines(one: Side, other: Side, rows: Sequence[Cause]) -> Iterator[str]:
    """Yields the lines of a comparison: the two results, then each cause with its stages and lines of code."""
    for sign, side in (("-", one), ("+", other)):
        at = _at(side)
        day = "" if at is None else time.strftime("  %Y-%m-%d %H:%M", time.localtime(at))
        key = side.origin.request.key[:_KEY_DIGITS]
        yield f"{sign} {printable(side.name)}  {side.origin.request.stage} {key}{day}"
    if is_equal(one, other, rows):
        yield "They were made from the same."
    elif not rows:
        yield "Their keys differ, but what differs is not on record."
    for row in rows:
        yield f"{row.reason.text}  ({', '.join(row.stages)})"
        yield from (f"    {line.sign} {line.number:>4}  {_shown(line.text)}" for line in row.lines[:_MOST_LINES])
        if len(row.lines) > _MOST_LINES:
            yield f"    and {len(row.lines) - _MOST_LINES} more lines"


def _shown(text: str) -> str:
    return printable(text.expandtabs(), _LONGEST_LINE)


def _at(side: Side) -> int | None:
    return side.archive.at(side.origin.request.key)
