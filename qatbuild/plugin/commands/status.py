"""`doit status`: prints which models are up to date, stale, not built, refused or failed, without building."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from qatbuild.engine.forecast import forecast
from qatbuild.engine.outcome import in_brief
from qatbuild.engine.status import LabelStatus, StageStatus, State, statuses
from qatbuild.exchange.errors import printable
from qatbuild.plugin.commands.command import SpecCommand, write_json, write_unreadable
from qatbuild.plugin.commands.explain import stage_fields
from qatbuild.plugin.commands.option import JSON, flag
from qatbuild.plugin.commands.results import results
from qatbuild.plugin.session import Session
from qatbuild.report import failures

_IN_ONE_LINE = State.NOT_BUILT, State.UP_TO_DATE
_WIDTH = 12


class Status(SpecCommand):
    """Prints the state of each label, and the stages that are not up to date."""

    name = "status"
    doc_purpose = "print which models are up to date, stale, not built, refused or failed"
    doc_usage = "[-q] [--json] [LABEL[:STAGE]] ..."
    doc_description = (
        "Without a label, print the status of all. A label's state is that of its first stage that is not up to date."
        " Nothing is built. With -q nothing is printed, and the exit status is 1 unless everything is up to date."
    )
    cmd_options = (
        JSON,
        flag("quiet", "print nothing; exit with 1 unless everything is up to date", short="q"),
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the states; returns 1 if specs have faults, or with -q if a label is not up to date."""
        rows = status_of(session, names)
        if options["quiet"]:
            return 1 if session.unreadable(names) or any(row.stages for row in rows) else 0
        counts = Counter(row.state for row in rows)
        if options["json"]:
            labels = [to_json(session, row) for row in rows]
            write_json({"labels": labels, "counts": counts, "unreadable": session.unreadable(names)})
        else:
            sys.stdout.writelines(f"{line}\n" for line in _lines(session, rows))
        return write_unreadable(session, names)


def status_of(session: Session, names: Sequence[str]) -> list[LabelStatus]:
    """Returns the status of the labels that names select, as far as the stages go that they select."""
    labels, plan = session.labels(names), session.plan
    everything = (id_ for label in labels for id_ in plan.labels[label].values())
    wanted = session.select(names) if session.without_prefix(names) else everything
    verdicts = forecast(plan, session.builder.rebuilder, wanted, session.builder.store)
    failed = failures.load(session.project.state.failures)
    return statuses(plan, session.builder.rebuilder, verdicts, failed, labels)


def to_json(session: Session, row: LabelStatus) -> dict[str, Any]:
    """Returns a label's status as plain data."""
    return {
        "label": session.task(row.label),
        "state": row.state,
        "stages": [
            {**stage_fields(each.verdict, session), "state": each.state, "error": each.error} for each in row.stages
        ],
    }


def _lines(session: Session, rows: Sequence[LabelStatus]) -> Iterator[str]:
    """Yields a block for each label that needs attention, a line of those that were never built, and the counts."""
    refused = results(session, [row.label for row in rows if row.state is State.REFUSED])
    gates = {model.label: model.verdict for model in refused}
    for row in rows:
        if row.state not in _IN_ONE_LINE:
            yield f"{session.task(row.label)}: {row.state}"
            for each in row.stages:
                yield f"  {each.verdict.stage.name:<{_WIDTH}}{printable(_why(each, gates.get(row.label, '')))}"
    if never := [session.task(row.label) for row in rows if row.state is State.NOT_BUILT]:
        yield f"{State.NOT_BUILT}: {', '.join(never)}"
    counts = Counter(row.state for row in rows)
    yield ", ".join(f"{count} {state}" for state, count in counts.items()) or "no labels"


def _why(each: StageStatus, gates: str) -> str:
    """Returns why a stage is not up to date; `gates` is the verdict of a refused model's gates."""
    if each.error:
        return f"{State.FAILED}: {each.error.splitlines()[0]}"
    if each.state is State.REFUSED:
        return gates
    return f"{each.verdict.will}: {in_brief(each.verdict.reasons)}"
