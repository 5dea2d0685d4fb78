"""`doit layers`: prints the accuracy lost in each layer of a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.files import file_sha256, read_json
from qatbuild.exchange.published import published_sha256
from qatbuild.plugin.commands.command import SpecCommand, write_faults, write_json
from qatbuild.plugin.session import Session
from qatbuild.report.layers import layer_table


class Layers(SpecCommand):
    """Prints the layers of evaluated models, worst first."""

    name = "layers"
    doc_purpose = "print the layers of a model, worst first"
    doc_usage = "[LABEL] ..."
    doc_description = (
        "dB is the ratio of signal to quantization noise: of the layer alone, with its inputs in the .tflite, and of"
        " the network up to the layer, against the float and the fake-quantized graph. LSB is the largest difference"
        " from the fake-quantized graph in steps of the layer's output; with the same inputs, a difference above 1 is"
        ' more than rounding. "=" means no loss, "?" a missing value.'
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints a table for each model; returns 1 if specs with faults are left out.

        ArtifactError for a model that was not evaluated.
        """
        stages = [session.plan.stages[id_] for id_ in session.select(names)]
        models = {
            stage.labels[0]: _layers(session.project.build / stage.home / "report.json", stage.labels[0])
            for stage in stages
            if stage.name == "evaluate"
        }
        if options["json"]:
            write_json(models)
            return write_faults(session, names)
        for label, layers in models.items():
            sys.stdout.write(f"{label}\n{layer_table({'layers': layers})}")
        return write_faults(session, names)


def _layers(report: Path, label: str) -> Any:
    hint = f"doit {label}"
    try:
        layers = read_json(report)["layers"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ArtifactError("The model has no report with layers.", [("file", report)], hint) from fault
    if file_sha256(report) != published_sha256(report.parent, "evaluate", report.name):
        raise ArtifactError("A report is not as it was built.", [("file", report)], hint)
    return layers
