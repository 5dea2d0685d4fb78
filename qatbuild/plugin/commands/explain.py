"""`doit explain`: prints why the stages of a label would run, as a tree."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from qatbuild.engine.forecast import CURRENT, Verdict
from qatbuild.plugin.commands.command import SpecCommand, write_faults, write_json
from qatbuild.plugin.session import Session


class Explain(SpecCommand):
    """Prints the stale stages of labels, each with all its reasons."""

    name = "explain"
    doc_purpose = "print why the stages of a label would run"
    doc_usage = "[LABEL[:STAGE]] ..."
    doc_description = "Without a label, explain what a plain `doit` builds. Nothing is run."

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the tree; returns 1 if specs with faults are left out."""
        verdicts = list(session.forecast(names).values())
        if options["json"]:
            write_json({**to_json(verdicts, session), "unreadable": session.left_out(names)})
        else:
            sys.stdout.writelines(f"{line}\n" for line in tree(verdicts, session))
        return write_faults(session, names)


def to_json(verdicts: Iterable[Verdict], session: Session) -> dict[str, Any]:
    """Returns verdicts as plain data."""
    return {"stages": [stage_fields(verdict, session) for verdict in verdicts]}


def stage_fields(verdict: Verdict, session: Session) -> dict[str, Any]:
    """Returns id, name and labels of a stage, what a build would do, and the reasons."""
    return {
        "id": verdict.stage.id,
        "stage": verdict.stage.name,
        "labels": list(map(session.task, verdict.stage.labels)),
        "will": verdict.will,
        "reasons": [reason.to_json() for reason in verdict.reasons],
    }


def tree(verdicts: Sequence[Verdict], session: Session) -> Iterator[str]:
    """Yields the lines of a tree: each stale stage with its reasons, then the number of up-to-date stages."""
    stale = [verdict for verdict in verdicts if verdict.will != CURRENT]
    for verdict in stale:
        yield f"{shown(verdict, session)}  {verdict.will}"
        last = len(verdict.reasons) - 1
        for number, reason in enumerate(verdict.reasons):
            yield f"{'└──' if number == last else '├──'} {reason.text}"
    yield f"{len(verdicts) - len(stale)} up to date"


def shown(verdict: Verdict, session: Session) -> str:
    """Describes a stage: its task name, and the number of other labels that share it."""
    stage = verdict.stage
    more = f" (and {len(stage.labels) - 1} more)" if len(stage.labels) > 1 else ""
    return f"{session.task(stage.labels[0])}:{stage.name}{more}"
