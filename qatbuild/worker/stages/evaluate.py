"""The evaluate stage: float graph, fake-quantized graph and .tflite on the whole test set.

Accuracy is top-1 in percent. Of equal scores the lowest class counts, in all three: the 256 values of a quantized
softmax are often equal. Each layer is measured on a sample of the images.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from qatbuild.exchange.errors import AcceptanceError, ConversionError, DatasetError
from qatbuild.exchange.facts import (
    Agreement,
    ConvertFacts,
    DatasetFacts,
    EvaluateFacts,
    FreezeFacts,
    Gate,
    IntegerTensor,
    ModelBytes,
    Top1,
)
from qatbuild.exchange.files import write_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker import console, graph_def, graph_outputs
from qatbuild.worker.graph_outputs import real_batches
from qatbuild.worker.stages import warnings
from qatbuild.worker.tflite import convert, inspect, latency, layers, reference
from qatbuild.worker.tflite.interpret import Model
from qatbuild.worker.training import log
from qatbuild.worker.training.session import session

_BATCH = 250
_KERNELS = "xnnpack"
_DECIMALS = 4
_LAYER_IMAGES = 64
_NAMED_LAYERS = 3


def run(request: Request) -> EvaluateFacts:
    """Write report.json; return the facts, which are the same without the latencies.

    AcceptanceError if a gate of the spec fails; the report is written nevertheless.
    """
    settings, scaling = request.settings, Scaling.of(request.settings["input"])
    frozen, converted = request.inputs["freeze"].manifest, request.inputs["convert"].manifest
    graph, tflite = FreezeFacts.of(frozen.facts), ConvertFacts.of(converted.facts)
    images, labels = _test_set(request.inputs["dataset"].manifest)
    model = Model(converted.file("model.tflite"), request.threads, _KERNELS)
    with tqdm(total=3 * len(images), desc=f"{settings['label']} evaluate", unit="image", **console.bar()) as bar:

        def scores(name: str) -> NDArray[np.float32]:
            batches = real_batches(images, scaling, _BATCH, bar.update)
            return graph_outputs.run(
                graph_def.read(frozen.file(name)), graph.input, graph.output, batches, request.threads
            )

        floats, fake_quants = scores("float_graph.pb"), scores("frozen_graph.pb")
        outputs = model.run(images, done=bar.update)
    top1 = Top1(*(_top1_percent(each, labels) for each in (floats, fake_quants, outputs)))
    agreement = Agreement(
        top1_percent=_top1_percent(outputs, top_class(fake_quants)),
        max_lsb=_max_lsb(fake_quants, outputs, tflite.output),
    )
    cannot = reference.refused(inspect.read(model.path))
    texts = [
        *warnings.of_classes(DatasetFacts.of(request.inputs["dataset"].manifest.facts)),
        *warnings.of_answers(top_class(outputs), labels),
        *([scaling.rounding] if scaling.rounding else []),
        *([f"LiteRT's reference kernels {cannot.why}; the layers have no row for it."] if cannot else []),
    ]
    for text in texts:
        log.write(f"warning: {text}")
    facts = EvaluateFacts(
        label=settings["label"],
        examples=len(images),
        top1=top1,
        agreement=agreement,
        bytes=_bytes(frozen, converted),
        input=tflite.input,
        output=tflite.output,
        scaling=scaling.to_json(),
        layers=_layers(model.path, frozen, images, scaling, threads=request.threads),
        runtimes={_KERNELS: "", "reference": cannot.why if cannot else ""},
        warnings=tuple(texts),
        gates=(*tflite.gates, *_gates(settings["evaluate"], top1, agreement)),
    )
    latencies = _latencies(request, graph, tflite, images[0], scaling)
    write_text(request.out / "report.json", json.dumps(facts.report(latencies), indent=1) + "\n")
    _accept(facts, request.folder / "report.json")
    return facts


def _accept(facts: EvaluateFacts, report: Path) -> None:
    """Raise AcceptanceError if a gate failed, with the worst layers."""
    failed = [(gate.name, f"wanted {gate.wanted}, got {gate.got}") for gate in facts.gates if not gate.passed]
    if failed:
        worst = "\n".join(layers.described(each) for each in facts.layers[:_NAMED_LAYERS])
        message = f"{facts.label} was built, and does not pass its gates."
        raise AcceptanceError(message, [*failed, ("worst layers", worst), ("report", report)])


def top_class(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class [n] with the highest of scores [n, classes]; if scores are equal, the lowest class."""
    highest: NDArray[np.int64] = np.argmax(scores, axis=1)
    return highest


def _test_set(dataset: Manifest) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return images uint8 [n, height, width, channels] and labels [n]."""
    path = dataset.file("dataset.npz")
    with np.load(path) as arrays:
        images, labels = arrays["test_images"], arrays["test_labels"]
    if not len(images):
        raise DatasetError("The dataset has no test images to evaluate on.", [("file", path)])
    return images, labels


def _layers(
    model: Path, frozen: Manifest, images: NDArray[np.uint8], scaling: Scaling, *, threads: int
) -> list[dict[str, Any]]:
    """Return a row for each layer (see `tflite.layers`), measured on images spread over the whole test set."""
    count = min(_LAYER_IMAGES, layers.affordable(model))
    chosen = images[np.unique(np.linspace(0, len(images) - 1, count, dtype=int))]
    reals = scaling.real(chosen.astype(np.float32))
    graphs = {name: graph_def.read(frozen.file(f"{name}_graph.pb")) for name in ("frozen", "float")}
    with contextlib.ExitStack() as sessions:

        def opened(definition: Any) -> layers.Run:
            with tf.Graph().as_default() as graph:
                tf.import_graph_def(definition, name="")
            return sessions.enter_context(session(graph, threads, as_written=True)).run

        return layers.measure(
            model, chosen, reals, graphs, input_name=FreezeFacts.of(frozen.facts).input, opened=opened
        )


def _top1_percent(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    return round(100 * float(np.mean(top_class(scores) == labels)), _DECIMALS)


def _max_lsb(scores: NDArray[np.float32], outputs: NDArray[Any], output: IntegerTensor) -> float:
    """Return the largest difference of a probability between graph and .tflite, in steps of the .tflite's output.

    Two decimals: further digits depend on the machine's order of summation.
    """
    steps = outputs.astype(np.float64) - output.zero_point
    return round(float(np.max(np.abs(scores.astype(np.float64) / output.scale - steps))), 2)


def _bytes(frozen: Manifest, converted: Manifest) -> ModelBytes:
    frozen_graph, float_graph = (frozen.files[name][0] for name in ("frozen_graph.pb", "float_graph.pb"))
    tflite = converted.files["model.tflite"][0]
    return ModelBytes(frozen_graph, float_graph, tflite, ratio=round(frozen_graph / tflite, _DECIMALS))


def _latencies(
    request: Request, graph: FreezeFacts, tflite: ConvertFacts, image: NDArray[np.uint8], scaling: Scaling
) -> list[dict[str, Any]]:
    """Return latency rows for the model, and for a float .tflite if the converter accepts all its operations."""
    frozen, converted = request.inputs["freeze"].manifest, request.inputs["convert"].manifest
    models: list[tuple[str, Path, NDArray[Any]]] = [(tflite.input.dtype, converted.file("model.tflite"), image)]
    float_graph, to = frozen.file("float_graph.pb"), request.work / "float.tflite"
    try:
        data = convert.convert_float(float_graph, input_name=graph.input, output_name=graph.output)
    except ConversionError as fault:
        log.write(f"The report has no latency of the float graph. {fault}")
    else:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(data)
        models.append(("float32", to, scaling.real(image.astype(np.float32))))
    return latency.measure(models, request.settings["evaluate"]["latency_runs"])


def _gates(wanted: Mapping[str, Any], top1: Top1, agreement: Agreement) -> list[Gate]:
    """Return the gates of the spec, on the rounded figures of the report."""
    limit, drop = wanted["max_accuracy_drop"], round(top1.float - top1.tflite, _DECIMALS)
    gates = [Gate("max_accuracy_drop", f"at most {limit} points", f"{drop} points", passed=drop <= limit)]
    for name, got in (("min_top1", top1.tflite), ("min_agreement", agreement.top1_percent)):
        if (least := wanted[name]) is not None:
            gates.append(Gate(name, f"at least {least} %", f"{got} %", passed=got >= least))
    return gates
