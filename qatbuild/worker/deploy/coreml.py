"""The network for Apple's devices: Core ML models of the float graph, with 8-bit weights.

As in the guide: Core ML takes no 8-bit TensorFlow model, and a fake-quantized graph becomes chains of float operators.
`model.mlpackage` is an ML program (iOS 15, macOS 12), `model.mlmodel` a neural network (iOS 13, for the 8 bits). Core
ML predicts on macOS only; `predict_on_mac.py` compares there, on `inputs.npz` and `expected.npz`. Here the weights are
read from both files, dequantized and put back into the float graph, which is then run.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qatbuild.exchange.errors import DeployError
from qatbuild.exchange.facts import Gate
from qatbuild.worker import graph_def
from qatbuild.worker.deploy import (
    Outcome,
    Subject,
    agreement,
    coreml_ends,
    coreml_weights,
    graphs,
    tools,
)

_DATE = "com.github.apple.coremltools.conversion_date"
_KINDS = ("mlprogram", "neuralnetwork")
_HALF_STEP = 0.51
"""Half a quantization step, and a margin for rounding."""
_WHY = "the weights in the Core ML files cannot be matched to the graph's, and Core ML predicts on macOS only"


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Writes both models, labels and the files for a Mac. Gates: dequantized weights; agreement with the float graph.

    Each weight must be within half a step of 8 bits of the float graph's.
    """
    coremltools = tools.module("coremltools", "coreml")
    assert subject.graphs is not None
    float_graph = subject.graphs.float
    graph = graph_def.read(float_graph)
    program, network = (_converted(coremltools, subject, options, graph, kind) for kind in _KINDS)
    package, model = out / "model.mlpackage", out / "model.mlmodel"
    quantized = {
        package.name: _program_in_8_bits(coremltools, program, package),
        model.name: _network_in_8_bits(coremltools, network, model),
    }
    coreml_ends.write_for_a_mac(subject, out, as_images=bool(options["image_input"]))
    truth = graphs.run(graph, subject)
    answers: dict[str, dict[str, NDArray[Any]]] = {}
    for name, weights in quantized.items():
        if (with_them := coreml_weights.put_into(float_graph, weights)) is not None:
            answers[name] = graphs.run(with_them, subject)
    gates = [_half_step(name, weights) for name, weights in quantized.items()]
    for name, results in answers.items():
        near_lsb = agreement.OTHER_WEIGHTS_LSB
        compared = agreement.compared(subject, results, truth, near_lsb)
        agreed = agreement.gates(options["min_agreement"], compared, "the float graph", near_lsb)
        gates += [gate._replace(name=f"{name} {gate.name}") for gate in agreed]
    sizes = {
        path.name: sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())
        for path in (float_graph, package, model)
    }
    return Outcome(
        artifact=package.name,
        versions={"coremltools": tools.version("coremltools")},
        answers=answers,
        why_not_run="" if answers else _WHY,
        gates=tuple(gates),
        figures={
            "bytes": sizes,
            "weights": {name: len(weights) for name, weights in quantized.items()},
        },
        notes=(f"{model.name} {sizes[model.name]:,} bytes", "compared with dequantized weights"),
        warnings=("Core ML predicts on macOS only: run predict_on_mac.py there.",),
    )


def _program_in_8_bits(coremltools: Any, program: Any, to: Path) -> dict[str, coreml_weights.Weights]:
    """Writes an ML program with 8-bit weights; returns these weights, as they are read back."""
    quantizer = coremltools.optimize.coreml.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0)
    config = coremltools.optimize.coreml.OptimizationConfig(global_config=quantizer)
    _save(coremltools.optimize.coreml.linear_quantize_weights(program, config), to)
    return coreml_weights.of_program(coremltools, program, coremltools.models.MLModel(str(to)))


def _network_in_8_bits(coremltools: Any, network: Any, to: Path) -> dict[str, coreml_weights.Weights]:
    """Writes a neural network with 8-bit weights; returns these weights, as they are read back."""
    _save(coremltools.models.neural_network.quantization_utils.quantize_weights(network, 8), to)
    return coreml_weights.of_network(network, coremltools.models.MLModel(str(to)))


def _converted(coremltools: Any, subject: Subject, options: Mapping[str, Any], graph: Any, kind: str) -> Any:
    """Converts the float graph to a Core ML model; `kind` is mlprogram or neuralnetwork."""
    inputs = coreml_ends.inputs(coremltools, subject, as_images=bool(options["image_input"]))
    precision = {"compute_precision": coremltools.precision.FLOAT32} if kind == "mlprogram" else {}
    try:
        return coremltools.convert(
            graph,
            source="tensorflow",
            inputs=inputs,
            convert_to=kind,
            **coreml_ends.outputs(coremltools, subject),
            **precision,
        )
    except Exception as fault:  # coremltools raises errors of many types
        raise DeployError("coremltools cannot convert the network.", [("to", kind), ("reason", fault)]) from fault


def _save(model: Any, path: Path) -> None:
    """Writes a model without date and random identifiers, so that equal models have equal bytes."""
    model.user_defined_metadata.pop(_DATE, None)
    model.save(str(path))
    for part in path.rglob("*.mlmodel"):
        part.chmod(0o644)  # coremltools makes it readable for its owner only.
    manifest = path / "Manifest.json"
    if manifest.is_file():
        text = manifest.read_text(encoding="utf-8")
        for key, item in json.loads(text)["itemInfoEntries"].items():
            text = text.replace(key, str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])))
        manifest.write_text(json.dumps(json.loads(text), indent=4, sort_keys=True) + "\n", encoding="utf-8")


def _half_step(name: str, weights: Mapping[str, coreml_weights.Weights]) -> Gate:
    worst = max((each.error_steps for each in weights.values()), default=0.0)
    wanted = "8-bit weights within half a step of the float graph's"
    got = f"{len(weights)} tensors, at most {worst:.3f} steps off"
    return Gate(f"{name} weights", wanted, got, passed=bool(weights) and worst <= _HALF_STEP)
