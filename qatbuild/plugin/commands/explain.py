"""`doit explain`: why the stages of a label would run, as a tree."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from qatbuild.engine.forecast import CURRENT, Verdict
from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.session import Opened


class Explain(SpecCommand):
    """The stale stages of a label, each with all its reasons."""

    name = "explain"
    doc_purpose = "say why the stages of a label would run"
    doc_usage = "[LABEL[:STAGE]] ..."
    doc_description = "Without a label: of what plain doit builds. Nothing is run."

    def look(self, opened: Opened, options: Any, names: list[str]) -> int:
        """Print the tree; 0."""
        verdicts = list(opened.forecast(names).values())
        if options["json"]:
            write_json(to_json(verdicts, opened))
        else:
            sys.stdout.writelines(f"{line}\n" for line in tree(verdicts, opened))
        return 0


def to_json(verdicts: Iterable[Verdict], opened: Opened) -> dict[str, Any]:
    """Verdicts as plain data: every stage with its id, name, labels, what it will do and why."""
    stages = [
        {
            "id": verdict.stage.id,
            "stage": verdict.stage.name,
            "labels": list(map(opened.task, verdict.stage.labels)),
            "will": verdict.will,
            "reasons": [reason.to_json() for reason in verdict.reasons],
        }
        for verdict in verdicts
    ]
    return {"stages": stages}


def tree(verdicts: Sequence[Verdict], opened: Opened) -> Iterator[str]:
    """The lines of a tree: a stage that is not up to date, below it its reasons; last how many are up to date."""
    stale = [verdict for verdict in verdicts if verdict.will != CURRENT]
    for verdict in stale:
        yield f"{shown(verdict, opened)}  {verdict.will}"
        last = len(verdict.reasons) - 1
        for number, reason in enumerate(verdict.reasons):
            yield f"{'└──' if number == last else '├──'} {reason.text}"
    yield f"{len(verdicts) - len(stale)} up to date"


def shown(verdict: Verdict, opened: Opened) -> str:
    """A stage's name: LABEL:STAGE, and how many other labels share it."""
    stage = verdict.stage
    more = f" (and {len(stage.labels) - 1} more)" if len(stage.labels) > 1 else ""
    return f"{opened.task(stage.labels[0])}:{stage.name}{more}"
