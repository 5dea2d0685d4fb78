"""`doit layers`: where a model lost accuracy, layer by layer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import ArtifactError
from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.session import Opened
from qatbuild.report.layers import layer_table


class Layers(SpecCommand):
    """The layers of models that were evaluated, worst first."""

    name = "layers"
    doc_purpose = "print a model's layers, the one that loses most first"
    doc_usage = "[LABEL] ..."
    doc_description = (
        "dB are signal to quantization noise: of the layer alone, given the .tflite's own inputs, and of the whole net"
        " up to there, against the float and the fake-quantized graph. LSB are steps of the layer's output from the"
        ' fake-quantized graph; more than 1 given the same inputs is more than rounding. "=" is nothing lost, "?"'
        " nothing to compare with."
    )

    def look(self, opened: Opened, options: Any, names: list[str]) -> int:
        """Print a table for each model; ArtifactError for one that was not evaluated."""
        stages = [opened.plan.stages[id_] for id_ in opened.select(names)]
        models = {
            stage.labels[0]: _layers(opened.project.build / stage.home / "report.json", stage.labels[0])
            for stage in stages
            if stage.name == "evaluate"
        }
        if options["json"]:
            write_json(models)
            return 0
        for label, layers in models.items():
            sys.stdout.write(f"{label}\n{layer_table({'layers': layers})}")
        return 0


def _layers(report: Path, label: str) -> Any:
    try:
        return json.loads(report.read_text(encoding="utf-8"))["layers"]
    except (OSError, ValueError, KeyError) as fault:
        raise ArtifactError("There is no report with layers.", [("file", report)], f"doit {label}") from fault
