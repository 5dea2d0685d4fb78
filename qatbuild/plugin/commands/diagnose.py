"""`doit diagnose`: prints the likely causes for which a model loses accuracy, and the fields of the spec to change."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from qatbuild.engine.cure.specification import Specification
from qatbuild.exchange.errors import ArtifactError
from qatbuild.plugin.commands.command import SpecCommand, write_faults, write_json
from qatbuild.plugin.commands.option import format_option
from qatbuild.plugin.session import Session
from qatbuild.report.diagnosis import Finding, diagnose
from qatbuild.report.evaluated import read_report, refusals
from qatbuild.report.layer_losses import has_signs

_MOST = 5


class Diagnose(SpecCommand):
    """Names the worst layers of evaluated models, with their likely causes."""

    name = "diagnose"
    doc_purpose = "print the likely causes for which a model loses accuracy, worst layer first"
    doc_usage = "[LABEL] ..."
    doc_description = (
        "A layer is named if it loses more than rounding to 8 bits does. dB is the signal to noise ratio that the cause"
        " leaves to the layer's values. The models must have been built; those that their gates refuse count, too."
    )
    cmd_options = (format_option({"text": "sentences", "json": "every finding, for scripts"}, "form of the output"),)

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the findings of each model; returns 1 if specs with faults are left out.

        ArtifactError for a model that was not evaluated.
        """
        reports = {label: _report(session, label) for label in session.evaluated(names)}
        findings = {label: _findings(session, label, report) for label, report in reports.items()}
        if options["format"] == "json":
            write_json({session.task(label): [each.to_json() for each in findings[label]] for label in findings})
        else:
            for label, report in reports.items():
                text = lines(session.task(label), findings[label], refusals(report))
                sys.stdout.writelines(f"{line}\n" for line in text)
        return write_faults(session, names)


def _findings(session: Session, label: str, report: dict[str, Any]) -> list[Finding]:
    specification = Specification.of(session.loaded, label)
    return [each.as_written_in(specification.document) for each in diagnose(report, specification.variant())]


def _report(session: Session, label: str) -> dict[str, Any]:
    """Returns a label's report. ArtifactError without one, and for one of another version's signs."""
    folder, hint = session.project.build / label, f"doit {session.task(label)}"
    report = read_report(folder, hint)
    if report["layers"] and not has_signs(report):
        message = "The report is of another version of qatbuild, which measured other signs of causes."
        raise ArtifactError(message, [("file", folder / "report.json")], hint)
    return report


def lines(label: str, findings: Sequence[Finding], refused: str = "") -> Iterator[str]:
    """Yields the lines about a model: for each of the worst layers what it loses, why, and what to change.

    `refused` says why its gates refuse it.
    """
    yield label
    if not findings:
        yield "  No layer loses more than rounding does."
    if refused and not findings:
        yield f"  Refused by its gates all the same ({refused}): the float network is too weak, or a limit too strict."
    for finding in findings[:_MOST]:
        layer = finding.layer
        left = f": {finding.db:.1f} dB" if finding.db > 0 else ""
        yield f"  {layer.name} ({layer.operator}){left}, {finding.cause.value.replace('_', ' ')}"
        yield f"    {finding.text}"
        yield f"    change: {', '.join(finding.fields)}"
    if len(findings) > _MOST:
        yield f"  and {len(findings) - _MOST} more layers, with --format json"
    if findings or refused:
        yield f"  What helps: doit cure {label}"
