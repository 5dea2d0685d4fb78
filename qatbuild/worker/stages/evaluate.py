"""The evaluate stage: float graph, fake-quantized graph and .tflite on the whole test set.

Of equal scores the lowest class counts, in all three: the 256 values of a quantized softmax are often equal. Each layer
is measured on a sample of the examples.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange import details
from qatbuild.exchange.errors import AcceptanceError, ConversionError, DatasetError
from qatbuild.exchange.facts import EvaluateFacts, ModelBytes
from qatbuild.exchange.files import lined_json, write_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from qatbuild.worker.datasets.examples import Arrays, Examples, opened
from qatbuild.worker.inputs import integer_values, raw_values, real_values
from qatbuild.worker.stages import ends, losses, measuring, metric_gates, warnings
from qatbuild.worker.stages.measuring import Subject
from qatbuild.worker.tflite import convert, graph, inspect, latency, layers, reference
from qatbuild.worker.tflite.differences import worst
from qatbuild.worker.tflite.pairing import IndexedGraph
from qatbuild.worker.training import log
from qatbuild.worker.training.session import session

_KERNELS = "xnnpack"
_DECIMALS = 4
_LAYER_EXAMPLES = 64
_NAMED_LAYERS = 3


def run(request: Request) -> EvaluateFacts:
    """Writes report.json and details.json; returns the facts, which are the report without the latencies.

    AcceptanceError if a gate of the spec fails; both are written nevertheless.
    """
    subject = _subject(request)
    dataset = ends.dataset_facts(request)
    examples = opened(request.inputs["dataset"].manifest.folder, "test", dataset)
    if not len(examples):
        folder = request.inputs["dataset"].manifest.folder
        raise DatasetError("The dataset has no test examples to evaluate on.", [("folder", folder)])
    file, graphs = inspect.read(subject.converted.file("model.tflite")), subject.indexed()
    imported = {form: each.graph for form, each in graphs.items()}
    measured = measuring.measure(subject, imported, examples, _KERNELS, measuring.batch_size(file))
    targets = {name: task.targets for name, task in subject.tasks.items()}
    tflite, agreement = subject.tflite, worst([*measured.agreements.values()])
    cannot = reference.refused(file)
    wanted = request.settings["evaluate"]
    texts = [
        *subject.graphs.warnings,
        *warnings.of_classes(dataset, ends.taught(subject.tasks)),
        *(warnings.of_answers(name, targets, dataset) for name in measured.constant),
        *measured.notes,
        *metric_gates.without_limit(wanted, measured.metrics),
        *(note for task in subject.tasks.values() for note in task.notes),
        *(each.scaling.rounding(name) for name, each in subject.inputs.items()),
        *([f"LiteRT's reference kernels {cannot.why}; the layers have no row for it."] if cannot else []),
    ]
    texts = [text for text in dict.fromkeys(texts) if text]
    for text in texts:
        log.write(f"warning: {text}")
    by_layer = _layers(subject, file, graphs, examples)
    facts = EvaluateFacts(
        label=subject.label,
        examples=len(examples),
        metrics=measured.metrics,
        agreement=agreement,
        agreements=measured.agreements,
        bytes=_bytes(subject.frozen, subject.converted),
        inputs=tflite.inputs,
        outputs=tflite.outputs,
        scalings={name: each.scaling.to_json() for name, each in subject.inputs.items()},
        layers=by_layer.rows,
        runtimes={_KERNELS: "", "reference": cannot.why if cannot else ""},
        warnings=tuple(texts),
        gates=(*tflite.gates, *metric_gates.gates(wanted, measured.metrics, agreement)),
    )
    latencies = _latencies(request, subject, examples.read(np.zeros(1, np.int64)))
    write_text(request.out / "report.json", json.dumps(facts.report(latencies), indent=1) + "\n")
    network = graph.described(file, [*tflite.inputs], by_layer.layers, by_layer.weights)
    shown = details.Details(measured.confusion, measured.confusions, network)
    write_text(request.out / details.FILE, lined_json(shown.to_json()))
    _accept(facts, request.folder / "report.json")
    return facts


def _subject(request: Request) -> Subject:
    frozen, converted = request.inputs["freeze"].manifest, request.inputs["convert"].manifest
    inputs, tasks = ends.inputs_of(request), ends.tasks_of(request)
    return Subject(request.settings["label"], frozen, converted, inputs, tasks, request.threads)


def _accept(facts: EvaluateFacts, report: Path) -> None:
    """Raises AcceptanceError if a gate failed, with the worst layers."""
    failed = [(gate.name, f"wanted {gate.wanted}, got {gate.got}") for gate in facts.gates if not gate.passed]
    if failed:
        worst_layers = "\n".join(layers.described(each) for each in facts.layers[:_NAMED_LAYERS])
        message = f"{facts.label} was built, and does not pass its gates."
        lost = losses.where(facts.metrics)
        rows = [*failed, *(each.row for each in lost), ("worst layers", worst_layers), ("report", report)]
        raise AcceptanceError(message, rows, " ".join(dict.fromkeys(each.hint for each in lost)))


def _layers(
    subject: Subject, file: inspect.Flatbuffer, graphs: Mapping[str, IndexedGraph], examples: Examples
) -> layers.Measured:
    """Returns a row for each layer (see `tflite.layers`), measured on examples spread over the whole test set.

    `file` is the content of the subject's .tflite, `graphs` are its graphs, by form.
    """
    rows = examples.read(examples.spread(min(_LAYER_EXAMPLES, layers.affordable(file))))
    raw = raw_values(subject.inputs, rows)
    integers = integer_values(subject.inputs, raw, subject.tflite.inputs)
    with contextlib.ExitStack() as sessions:

        def ready(graph: tf.Graph) -> layers.Run:
            return sessions.enter_context(session(graph, subject.threads, as_written=True)).run

        return layers.measure(
            subject.converted.file("model.tflite"),
            (list(subject.tflite.inputs), list(subject.tflite.outputs)),
            integers,
            subject.feed(raw),
            graphs,
            model=file,
            inputs=subject.graphs.inputs,
            opened=ready,
        )


def _bytes(frozen: Manifest, converted: Manifest) -> ModelBytes:
    frozen_graph, float_graph = (frozen.files[name][0] for name in ("frozen_graph.pb", "float_graph.pb"))
    tflite = converted.files["model.tflite"][0]
    return ModelBytes(frozen_graph, float_graph, tflite, ratio=round(frozen_graph / tflite, _DECIMALS))


def _latencies(request: Request, subject: Subject, example: Arrays) -> list[dict[str, Any]]:
    """Returns latency rows for the model, and for a float .tflite if the converter accepts all its operations."""
    raw, facts, graphs = raw_values(subject.inputs, example), subject.tflite, subject.graphs
    names = (list(facts.inputs), list(facts.outputs))
    integers = integer_values(subject.inputs, raw, facts.inputs)
    numbers = next(iter(facts.inputs.values())).dtype
    models = [latency.Timed(numbers, subject.converted.file("model.tflite"), names, _one(integers))]
    to = request.work / "float.tflite"
    try:
        float_graph = subject.frozen.file("float_graph.pb")
        inputs, outputs = list(graphs.inputs.values()), list(graphs.outputs.values())
        data = convert.convert_float(float_graph, inputs=inputs, outputs=outputs)
    except ConversionError as fault:
        log.write(f"The report has no latency of the float graph. {fault}")
    else:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(data)
        models.append(latency.Timed("float32", to, names, _one(real_values(subject.inputs, raw))))
    return latency.measure(models, request.settings["evaluate"]["latency_runs"])


def _one(values: Arrays) -> Arrays:
    return {name: each[0] for name, each in values.items()}
