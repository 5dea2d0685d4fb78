"""`doit layers`: prints the accuracy lost in each layer of a model."""

from __future__ import annotations

import sys
from typing import Any

from qatbuild.plugin.commands.command import SpecCommand, write_faults, write_json
from qatbuild.plugin.session import Session
from qatbuild.report.evaluated import read_report
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
        tasks = {label: session.task(label) for label in session.evaluated(names)}
        models = {
            task: read_report(session.project.build / label, f"doit {task}")["layers"] for label, task in tasks.items()
        }
        if options["json"]:
            write_json(models)
            return write_faults(session, names)
        for task, layers in models.items():
            sys.stdout.write(f"{task}\n{layer_table({'layers': layers})}")
        return write_faults(session, names)
