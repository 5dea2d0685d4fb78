"""The evaluate stage: the float graph, the fake-quantized graph and the .tflite, on the whole test set.

Accuracy is top-1 in percent. Where scores are equal the lowest class index wins, in all three: the 256 values of a
quantized softmax have ties that a float one has not. A sample of the images is followed through every layer.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from qatbuild.exchange.errors import AcceptanceError, ConversionError, DatasetError
from qatbuild.exchange.files import write_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from qatbuild.worker import console, graph_def
from qatbuild.worker.tflite import convert, latency, layers
from qatbuild.worker.tflite.gates import gate
from qatbuild.worker.tflite.interpret import Model
from qatbuild.worker.training import log
from qatbuild.worker.training.session import session

_BATCH = 250
_KERNELS = "xnnpack"
_DECIMALS = 4
_LAYER_IMAGES = 64
_NAMED_LAYERS = 3


def run(request: Request) -> dict[str, Any]:
    """Write report.json, the contract that scripts read; its facts are the same without the latencies.

    Raises AcceptanceError if a gate of the spec fails; the report is written nevertheless.
    """
    settings = request.settings
    frozen, converted = request.inputs["freeze"].manifest, request.inputs["convert"].manifest
    images, labels = _test_set(request.inputs["dataset"].manifest)
    model = Model(converted.file("model.tflite"), request.threads, _KERNELS)
    with tqdm(total=3 * len(images), desc=f"{settings['label']} evaluate", unit="image", **console.bar()) as bar:
        names = ("float_graph.pb", "frozen_graph.pb")
        scores = [_graph_scores(frozen, name, images, settings["input"], bar.update) for name in names]
        outputs = model.run(images, done=bar.update)
    floats, fake_quants = scores
    top1 = {
        "float": _top1_percent(floats, labels),
        "fake_quant": _top1_percent(fake_quants, labels),
        "tflite": _top1_percent(outputs, labels),
    }
    agreement = {
        "top1_percent": _top1_percent(outputs, top_class(fake_quants)),
        "max_lsb": _max_lsb(fake_quants, outputs, converted.facts["output"]),
    }
    found = [*converted.facts["gates"], *_gates(settings["evaluate"], top1, agreement)]
    facts = {
        "label": settings["label"],
        "examples": len(images),
        "top1": top1,
        "agreement": agreement,
        "bytes": _bytes(frozen, converted),
        "input": converted.facts["input"],
        "output": converted.facts["output"],
        "layers": _layers(model.path, frozen, images, settings["input"]),
        "gates": found,
    }
    latencies = _latencies(request, images[0])
    report = {key: value for key, value in facts.items() if key != "gates"} | _clocked(latencies) | {"gates": found}
    write_text(request.out / "report.json", json.dumps(report, indent=1) + "\n")
    failed = [each for each in found if not each["passed"]]
    if failed:
        rows = [(each["name"], f"wanted {each['wanted']}, got {each['got']}") for each in failed]
        worst = "\n".join(layers.described(each) for each in facts["layers"][:_NAMED_LAYERS])
        message = f"{settings['label']} was built, and does not pass its gates."
        raise AcceptanceError(message, [*rows, ("worst layers", worst), ("report", request.folder / "report.json")])
    return facts


def top_class(scores: NDArray[Any]) -> NDArray[np.int64]:
    """The class [n] of the highest of scores [n, classes]; of equal ones, the lowest class."""
    highest: NDArray[np.int64] = np.argmax(scores, axis=1)
    return highest


def _test_set(dataset: Manifest) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Images uint8 [n, height, width, channels] and labels [n]."""
    path = dataset.file("dataset.npz")
    with np.load(path) as arrays:
        images, labels = arrays["test_images"], arrays["test_labels"]
    if not len(images):
        raise DatasetError("The dataset has no test images to evaluate on.", [("file", path)])
    return images, labels


def _reals(images: NDArray[np.uint8], scaling: Mapping[str, float]) -> NDArray[np.float32]:
    """(byte - mean) / std_dev."""
    reals: NDArray[np.float32] = (images.astype(np.float32) - np.float32(scaling["mean"])) / np.float32(
        scaling["std_dev"]
    )
    return reals


def _graph_scores(
    frozen: Manifest, name: str, images: NDArray[np.uint8], scaling: Mapping[str, float], done: Callable[[int], Any]
) -> NDArray[np.float32]:
    """The softmax float32 [n, classes] of a frozen graph, fed with (byte - mean) / std_dev."""
    definition = graph_def.read(frozen.file(name))
    given, wanted = (f"{frozen.facts[end]}:0" for end in ("input", "output"))
    scores = []
    with tf.Graph().as_default() as graph, session(graph) as opened:
        tf.import_graph_def(definition, name="")
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            scores.append(opened.run(wanted, {given: _reals(batch, scaling)}))
            done(len(batch))
    return np.concatenate(scores)


def _layers(
    model: Path, frozen: Manifest, images: NDArray[np.uint8], scaling: Mapping[str, float]
) -> list[dict[str, Any]]:
    """A row for each layer (see `tflite.layers`), from images that are spread over the whole test set."""
    count = min(_LAYER_IMAGES, layers.affordable(model))
    chosen = images[np.unique(np.linspace(0, len(images) - 1, count, dtype=int))]
    reals = _reals(chosen, scaling)
    graphs = {name: graph_def.read(frozen.file(f"{name}_graph.pb")) for name in ("frozen", "float")}
    with contextlib.ExitStack() as sessions:

        def opened(definition: Any) -> layers.Run:
            with tf.Graph().as_default() as graph:
                tf.import_graph_def(definition, name="")
            return sessions.enter_context(session(graph, as_written=True)).run

        return layers.measure(model, chosen, reals, graphs, input_name=frozen.facts["input"], opened=opened)


def _top1_percent(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    return round(100 * float(np.mean(top_class(scores) == labels)), _DECIMALS)


def _max_lsb(scores: NDArray[np.float32], outputs: NDArray[Any], output: Mapping[str, Any]) -> float:
    """The largest difference between the probabilities of graph and .tflite, in steps of the .tflite's output.

    Two decimals: the digits behind them depend on the machine's order of summation.
    """
    steps = outputs.astype(np.float64) - output["zero_point"]
    return round(float(np.max(np.abs(scores.astype(np.float64) / output["scale"] - steps))), 2)


def _bytes(frozen: Manifest, converted: Manifest) -> dict[str, Any]:
    sizes = {
        "frozen_graph": frozen.files["frozen_graph.pb"][0],
        "float_graph": frozen.files["float_graph.pb"][0],
        "tflite": converted.files["model.tflite"][0],
    }
    return {**sizes, "ratio": round(sizes["frozen_graph"] / sizes["tflite"], _DECIMALS)}


def _latencies(request: Request, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Rows of the model itself, and of the float graph's .tflite if there is a converter for all its operations."""
    frozen, converted = request.inputs["freeze"].manifest, request.inputs["convert"].manifest
    own = (converted.facts["input"]["dtype"], converted.file("model.tflite"), image)
    models: list[tuple[str, Path, NDArray[Any]]] = [own]
    graph, to = frozen.file("float_graph.pb"), request.work / "float.tflite"
    try:
        data = convert.convert_float(graph, input_name=frozen.facts["input"], output_name=frozen.facts["output"])
    except ConversionError as fault:
        log.write(f"The report has no latency of the float graph. {fault}")
    else:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(data)
        models.append(("float32", to, _reals(image, request.settings["input"])))
    return latency.measure(models, request.settings["evaluate"]["latency_runs"])


def _clocked(latencies: list[dict[str, Any]]) -> dict[str, Any]:
    """What the report says of them: the model's own under the kernels that users get by default, and all."""
    own = {key: latencies[0][key] for key in ("median", "p95", "threads", "kernels")}
    return {"latency_ms": own, "latencies_ms": latencies}


def _gates(
    wanted: Mapping[str, Any], top1: Mapping[str, float], agreement: Mapping[str, float]
) -> list[dict[str, Any]]:
    """The gates that the spec sets, on the rounded figures that the report shows."""
    found = []
    limit, drop = wanted["max_accuracy_drop"], round(top1["float"] - top1["tflite"], _DECIMALS)
    found.append(gate("max_accuracy_drop", f"at most {limit} points", f"{drop} points", passed=drop <= limit))
    for name, limit, got in (
        ("min_top1", wanted["min_top1"], top1["tflite"]),
        ("min_agreement", wanted["min_agreement"], agreement["top1_percent"]),
    ):
        if limit is not None:
            found.append(gate(name, f"at least {limit} %", f"{got} %", passed=got >= limit))
    return found
