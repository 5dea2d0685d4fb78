"""The report of an evaluated model, read back as it was published, whether its gates passed or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.files import file_sha256, read_json
from qatbuild.exchange.published import published_sha256


def read_report(folder: Path, hint: str) -> dict[str, Any]:
    """Returns the report.json in a label's folder.

    ArtifactError, with a hint how to build it, if it is absent, has no layers, or is not as it was published.
    """
    file = folder / "report.json"
    try:
        report: dict[str, Any] = read_json(file)
        report["layers"] = [*report["layers"]]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ArtifactError("The model has no report with layers.", [("file", file)], hint) from fault
    if file_sha256(file) != published_sha256(folder, "evaluate", file.name):
        raise ArtifactError("A report is not as it was built.", [("file", file)], hint)
    return report


def refusals(report: Mapping[str, Any]) -> str:
    """Returns why the gates refuse the model, in one line; '' if all have passed."""
    failed = (gate for gate in report.get("gates", ()) if not gate["passed"])
    return "; ".join(f"{gate['name']}: wanted {gate['wanted']}, got {gate['got']}" for gate in failed)
