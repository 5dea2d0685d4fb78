"""`doit plan`: prints what a build would do, in order."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from qatbuild.engine.forecast import CURRENT
from qatbuild.plugin.commands.command import SpecCommand, write_faults, write_json
from qatbuild.plugin.commands.explain import shown, to_json
from qatbuild.plugin.session import Session


class Plan(SpecCommand):
    """Prints the stages that a build would run, one per line."""

    name = "plan"
    doc_purpose = "print the stages that doit would run, in order"
    doc_usage = "[LABEL[:STAGE]] ..."
    doc_description = (
        'Nothing is run. A stage that "may run" is skipped if its upstream stages produce the same results as last'
        " time."
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the plan; returns 1 if specs with faults are left out."""
        verdicts = list(session.forecast(names).values())
        counts = Counter(verdict.will for verdict in verdicts)
        if options["json"]:
            write_json({**to_json(verdicts, session), "counts": counts, "unreadable": session.left_out(names)})
            return write_faults(session, names)
        for verdict in verdicts:
            if verdict.will != CURRENT:
                reasons = "; ".join(reason.text for reason in verdict.reasons)
                sys.stdout.write(f"{verdict.will:7}  {shown(verdict, session)}: {reasons}\n")
        summary = ", ".join(f"{count} {'up to date' if will == CURRENT else will}" for will, count in counts.items())
        sys.stdout.write(f"{summary}\n")
        return write_faults(session, names)
