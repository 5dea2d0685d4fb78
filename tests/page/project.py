"""A build folder as the stages leave it, made in milliseconds: manifests, records, run.json, report and details."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from qatbuild.exchange.files import file_sha256, lined_json
from qatbuild.exchange.layer_signs import LayerSigns
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.published import Record, described, run_path
from qatbuild.exchange.request import Input, Request
from qatbuild.report.failures import Failure
from qatbuild.report.models import ModelReport, read_models

LAYERS = ("conv1", "conv2", "shortcut", "add", "logits")
OPERATORS = ("CONV_2D", "CONV_2D", "CONV_2D", "ADD", "FULLY_CONNECTED")
INPUTS: tuple[list[str], ...] = (["image"], ["conv1"], ["conv1"], ["conv2", "shortcut"], ["add"])
CLASSES = ("cat", "dog", "owl")
HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>\u202e"


class Net(NamedTuple):
    """What distinguishes a model of these tests. `worst` is the layer that loses most, `drop` in points of top-1."""

    top1: float = 90.0
    drop: float = 0.2
    bytes: int = 40_000
    latency_ms: float = 0.5
    scheme: str = "int8"
    steps: int = 1000
    worst: str = "logits"
    passed: bool = True
    right: tuple[int, int, int] = (90, 92, 88)
    seconds: float = 4.0
    finished: str = "2026-03-01T12:00:00+0000"
    warnings: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = {"images": {"mean": 121, "std_dev": 64}}


PLAIN = Net()


def built(build: Path, nets: Mapping[str, Net], failures: Mapping[str, Failure] | None = None) -> list[ModelReport]:
    """Writes the results of models into a build folder, and reads them as the engine does."""
    for label, net in nets.items():
        write(build, label, report(label, net), details(net), net)
    labels = [*nets, *dict.fromkeys(each.label for each in (failures or {}).values() if each.label not in nets)]
    return read_models(build, {label: [] for label in labels}, failures)


def write(build: Path, label: str, report: Mapping[str, Any], details: Mapping[str, Any], net: Net = PLAIN) -> None:
    """Writes the results of one model, with its report.json and details.json."""
    home, shared = build / label, build / "shared"
    dataset = stage(shared / "dataset-1", "dataset", {"dataset": {"name": "images"}}, {}, {})
    curve = {
        "step": [10, 500, net.steps],
        "loss": [2.0, 0.5, 0.1],
        "learning_rate": [0.1, 0.05, 0.001],
    }
    training = {"curve": curve, "validation": {"500": 80.0, str(net.steps): 91.0}, "metric": "top1", "best": 500}
    train = {"train": {"steps": net.steps, "seed": 1, "learning_rate": {"initial": 0.1}}}
    network = {
        "inputs": net.inputs,
        "model": {"name": "digitsnet", "call": None},
        **train,
    }
    floats = stage(shared / f"float-{net.steps}", "float", network, {"dataset": dataset}, training, seconds=net.seconds)
    quantize = {"quantize": {"method": "qat", "scheme": net.scheme}}
    quantized = stage(home, "quantize", quantize, {"float": floats}, {})
    freeze = stage(home, "freeze", {}, {"quantize": quantized}, {})
    convert = stage(home, "convert", quantize, {"freeze": freeze}, {}, files={"model.tflite": "TFL3"})
    files = {"report.json": json.dumps(report), "details.json": lined_json(details, sort_keys=True)}
    evaluate = {"evaluate": {"max_accuracy_drop": 1.0}}
    read = {"dataset": dataset, "freeze": freeze, "convert": convert}
    stage(home, "evaluate", evaluate, read, {}, finished=net.finished, files=files)


def report(label: str, net: Net) -> dict[str, Any]:
    """The report.json of a model."""
    drop = {"name": "max_accuracy_drop", "wanted": "at most 1 point", "got": f"{net.drop:g} points"}
    top1 = {"float": net.top1 + net.drop, "fake_quant": net.top1, "tflite": net.top1}
    latency = {"median": net.latency_ms, "p95": net.latency_ms * 1.2, "threads": 1, "kernels": "xnnpack"}
    return {
        "label": label,
        "examples": 300,
        "metrics": {"top1": {**top1, "better": "higher", "percent": True}},
        "agreement": {"top1_percent": 99.5, "max_lsb": 2.0, "rmse_lsb": 0.3},
        "bytes": {"frozen_graph": 400_000, "float_graph": 390_000, "tflite": net.bytes, "ratio": 4.0},
        "inputs": {"image": {"dtype": "int8", "scale": 0.5, "zero_point": -3, "shape": [1, 8, 8, 3]}},
        "outputs": {"label": {"dtype": "int8", "scale": 0.00390625, "zero_point": -128, "shape": [1, 3]}},
        "latency_ms": latency,
        "latencies_ms": [{"numbers": "int8", **latency}],
        "layers": _rows(net.worst),
        "runtimes": {"xnnpack": "", "cmsis_nn": "ADD of int16"},
        "warnings": list(net.warnings),
        "gates": [
            {"name": "fully integer", "wanted": "int8 only", "got": "int8 only", "passed": True},
            {**drop, "passed": net.passed},
        ],
    }


WHOLE = LayerSigns((-1.0, 1.0), 80.0, clipped_percent=0.0)
CUT_OFF = WHOLE._replace(clipped_percent=12.5, clipped_db=8.5)


def _rows(worst: str) -> list[dict[str, Any]]:
    rows = [
        {
            "position": at,
            "name": name,
            "operator": operator,
            "partner": None,
            "sqnr_db": {"float": 30.0 - at, "fake_quant": 45.0, "alone": 8.5 if name == worst else 38.0},
            "max_lsb": {"fake_quant": 1.0, "same_inputs": 0.0},
            "codes_used_percent": 90.0,
            "saturated_percent": 12.5 if name == worst else 0.0,
            "signs": (CUT_OFF if name == worst else WHOLE)._asdict(),
        }
        for at, (name, operator) in enumerate(zip(LAYERS, OPERATORS, strict=True))
    ]
    return sorted(rows, key=lambda row: row["name"] != worst)


def details(net: Net) -> dict[str, Any]:
    """The details.json of a model."""
    counts = [[net.right[0], 100 - net.right[0], 0], [0, net.right[1], 100 - net.right[1]]]
    counts.append([100 - net.right[2], 0, net.right[2]])
    bins = [round(1000 * 0.85 ** abs(at - 32)) for at in range(64)]
    weights = {"minimum": -0.5, "maximum": 0.5, "counts": bins, "scale": 0.004, "zero_point": 0, "bits": 8}
    activations = {**weights, "minimum": -1.0, "maximum": 9.0, "scale": 0.02, "zero_point": -128, "per_channel": False}
    layers = {
        name: {"operator": operator, "inputs": inputs, "activations": activations}
        | ({} if operator == "ADD" else {"weights": {**weights, "scale": [0.002, 0.004], "per_channel": True}})
        for name, operator, inputs in zip(LAYERS, OPERATORS, INPUTS, strict=True)
    }
    pairs = [{"actual": 2, "predicted": 0, "count": 100 - net.right[2], "examples": [picture(90)]}]
    return {"confusion": {"labels": list(CLASSES), "counts": counts}, "confusions": pairs, "layers": layers}


def picture(grey: int, side_px: int = 16) -> str:
    """A PNG in base64."""
    data = io.BytesIO()
    Image.linear_gradient("L").resize((side_px, side_px)).point(lambda value: (value + grey) % 256).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def stage(
    folder: Path,
    name: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Path],
    facts: Mapping[str, Any],
    *,
    seconds: float = 1.0,
    finished: str = PLAIN.finished,
    files: Mapping[str, str] | None = None,
) -> Path:
    """Publishes a stage and returns the path of its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in (files or {}).items():
        (folder / file).write_text(text)
    read = {role: Input(path, file_sha256(path)) for role, path in inputs.items()}
    request = Request(name, settings, read, {}, {"tensorflow": "2.21.0"}, "", 2, folder, folder, folder, folder)
    digests = {file: (len(text), hashlib.sha256(text.encode()).hexdigest()) for file, text in (files or {}).items()}
    measured = described(folder, [file for file in digests if file == "report.json"])
    manifest = Manifest(name, folder, {**digests, **dict.fromkeys(measured, (0, ""))}, facts)
    path = Manifest.path_of(folder, name)
    path.write_text(manifest.to_json())
    ran = run_path(folder, name)
    ran.write_text(json.dumps({"finished": finished, "seconds": seconds, "peak_memory_bytes": 2**28}))
    record = Record.sealed(request, manifest.to_json(), measured, file_sha256(ran), processor="AMD EPYC")
    Request.path_of(folder, name).write_text(record.to_json())
    return path
