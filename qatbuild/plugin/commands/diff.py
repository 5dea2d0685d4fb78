"""`doit diff [REF] [REF]`: what differs between a git revision and the working tree, or between two revisions."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from qatbuild.engine.differences import differences
from qatbuild.engine.git import Revision, Span
from qatbuild.exchange.errors import SpecError
from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.commands.option import JSON, format_option
from qatbuild.plugin.session import Session
from qatbuild.report.comment import Times, comment, text
from qatbuild.report.comparison import Difference

_WORKING_TREE = "the working tree"
_MOST_REVISIONS = 2


class Diff(SpecCommand):
    """Prints what differs between two times of the project, from results that exist."""

    name = "diff"
    doc_purpose = "print what differs from a git revision: metrics, bytes, latency, layers, gates"
    doc_usage = "[--format text|markdown|json] [REF] [REF]"
    doc_description = (
        "Compare the models of a revision (by default HEAD) with those of the working tree, or of a second revision."
        " Nothing is built: results come from the build folder, the store and the shared cache."
    )
    cmd_options = (
        JSON,
        format_option({"text": "for a terminal", "markdown": "for a pull request", "json": "for scripts"}, "language"),
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the comparison; returns 1 if specs have faults, because they cannot be compared."""
        if len(names) > _MOST_REVISIONS:
            raise SpecError("doit diff compares two revisions.", [("got", " ".join(names))], "doit diff main HEAD")
        former, *presents = (Revision(session.project.root, name) for name in names or ["HEAD"])
        span = Span(former, presents[0] if presents else None)
        rows = rows_of(session, span)
        unreadable = [] if span.present else sorted(session.errors)
        times = times_of(span)
        if options["json"] or options["format"] == "json":
            write_json(_fields(span, times, rows, unreadable))
        elif options["format"] == "markdown":
            sys.stdout.write(comment(times, rows, unreadable))
        else:
            sys.stdout.write(text(times, rows))
        sys.stderr.writelines(f"{session.errors[name].block()}\n" for name in unreadable)
        return 1 if unreadable else 0


def rows_of(session: Session, span: Span) -> list[Difference]:
    """Returns what differs between the two ends of a span, with the names of tasks."""
    rows = differences(session.loaded, session.builder.rebuilder, session.builder.store, span)
    return [row._replace(label=session.task(row.label)) for row in rows]


def times_of(span: Span) -> Times:
    """Returns the names of the two ends of a span."""
    return Times(span.former.name, span.present.name if span.present else _WORKING_TREE)


def _fields(span: Span, times: Times, rows: Sequence[Difference], unreadable: Iterable[str]) -> dict[str, Any]:
    return {
        "former": {"name": times.former, "commit": span.former.commit},
        "now": {"name": times.now, "commit": span.present.commit if span.present else ""},
        "labels": [row.to_json() for row in rows],
        "unreadable": list(unreadable),
    }
