"""The rules of `"labels": false`: a pretrained network is quantized without targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qatbuild.schema.faults import Fault
from qatbuild.schema.rules.network import has_weights
from qatbuild.schema.rules.quantization import is_ptq
from qatbuild.schema.rules.reading import at, outputs_of


def violations(document: Any) -> Iterator[Fault]:
    """Yields a fault for each field that needs labels, if the dataset has none."""
    if at(document, "dataset", "labels") is not False:
        return
    if not is_ptq(document):
        text = 'qat trains, which needs labels: write "quantize": {"method": "ptq"}, or remove dataset.labels.'
        yield Fault(("quantize", "method"), text)
    if at(document, "train") is not None:
        yield Fault(("train",), "a training needs labels: remove train, or dataset.labels.")
    if not has_weights(document):
        text = "without labels a network needs weights: use model.weights, keras, saved_model or graph_def."
        yield Fault(("model",), text)
    for field in ("max_accuracy_drop", "min_top1", "gates"):
        if at(document, "evaluate", field) not in (None, {}):
            text = "needs labels: without them the agreement is the metric; use min_agreement."
            yield Fault(("evaluate", field), text)
    for name, output in outputs_of(document).items():
        if output.get("task") == "call":
            text = "without labels your loss and metrics have no targets: name the task that the output is like."
            yield Fault(("outputs", name, "task"), text)
