"""The network for Apple's devices: Core ML models of the float graph, with 8-bit weights.

As in the guide: Core ML takes no 8-bit TensorFlow model, and a fake-quantized graph becomes chains of float operators.
`model.mlpackage` is an ML program (iOS 15, macOS 12), `model.mlmodel` a neural network (iOS 13, for the 8 bits). Core
ML predicts on macOS only; `predict_on_mac.py` compares there, on `images.npy` and `expected.npy`. Here the weights are
read from both files, dequantized and put back into the float graph, which is then run.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.errors import DeployError
from qatbuild.exchange.facts import Gate
from qatbuild.worker import graph_def
from qatbuild.worker.deploy import (
    Outcome,
    Subject,
    agreement_gate,
    agreement_percent,
    coreml_weights,
    graphs,
    tools,
)

_DATE = "com.github.apple.coremltools.conversion_date"
_MAC_IMAGES = 100
_HALF_STEP = 0.51
"""Half a quantization step, and a margin for rounding."""
_WHY = "the weights in the Core ML files cannot be matched to the graph's, and Core ML predicts on macOS only"

_SCRIPT = '''\
"""Compare both Core ML models with LiteRT, on a Mac: pip install coremltools numpy pillow; python predict_on_mac.py"""

from pathlib import Path

import coremltools
import numpy
from PIL import Image

HERE = Path(__file__).parent
IMAGES, EXPECTED = numpy.load(HERE / "images.npy"), numpy.load(HERE / "expected.npy")  # bytes, probabilities
LABELS = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()


def as_input(image):
    """Convert an image to the model's input."""
    if not {as_image}:
        return image[numpy.newaxis].astype(numpy.float32)
    return Image.fromarray(image.squeeze(), "L" if image.shape[2] == 1 else "RGB")


for name in ("model.mlpackage", "model.mlmodel"):
    model = coremltools.models.MLModel(str(HERE / name))
    (taken,) = (each.name for each in model.get_spec().description.input)
    table = model.get_spec().description.predictedProbabilitiesName
    answers = [model.predict({{taken: as_input(image)}})[table] for image in IMAGES]
    scores = numpy.array([[answer[label] for label in LABELS] for answer in answers])
    agreed = 100 * numpy.mean(scores.argmax(1) == EXPECTED.argmax(1))
    print(f"{{name}}: top-1 as LiteRT for {{agreed:.1f}} % of {{len(IMAGES)}} images,")
    print(f"    probabilities differ by up to {{numpy.abs(scores - EXPECTED).max():.4f}}")
'''


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Write both models, labels and the files for a Mac. Gates: dequantized weights; agreement with the float graph.

    Each weight must be within half a step of 8 bits of the float graph's.
    """
    coremltools = tools.module("coremltools", "coreml")
    assert subject.graphs is not None
    float_graph = subject.graphs.float
    graph = graph_def.read(float_graph)
    floats = {kind: _converted(coremltools, subject, options, graph, kind) for kind in ("mlprogram", "neuralnetwork")}
    package, model = out / "model.mlpackage", out / "model.mlmodel"
    config = coremltools.optimize.coreml.OptimizationConfig(
        global_config=coremltools.optimize.coreml.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0)
    )
    program = coremltools.optimize.coreml.linear_quantize_weights(floats["mlprogram"], config)
    _save(program, package)
    network = coremltools.models.neural_network.quantization_utils.quantize_weights(floats["neuralnetwork"], 8)
    _save(network, model)
    _for_a_mac(subject, options, out)
    quantized = {
        package.name: coreml_weights.of_program(
            coremltools, floats["mlprogram"], coremltools.models.MLModel(str(package))
        ),
        model.name: coreml_weights.of_network(floats["neuralnetwork"], coremltools.models.MLModel(str(model))),
    }
    truth = graphs.run(graph, subject)
    answers: dict[str, NDArray[Any]] = {}
    for name, weights in quantized.items():
        if (with_them := coreml_weights.put_into(float_graph, weights)) is not None:
            answers[name] = graphs.run(with_them, subject)
    gates = [_half_step(name, weights) for name, weights in quantized.items()]
    for name, scores in answers.items():
        agreed = agreement_percent(scores, truth)
        agreement = agreement_gate(options["min_agreement"], agreed, "the float graph")
        gates += [gate._replace(name=f"{name} {gate.name}") for gate in agreement]
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


def _converted(coremltools: Any, subject: Subject, options: Mapping[str, Any], graph: Any, kind: str) -> Any:
    """Convert the float graph to a Core ML model; `kind` is mlprogram or neuralnetwork."""
    names, scaling = subject.graphs, subject.samples.scaling
    assert names is not None
    shape = (1, *subject.samples.images.shape[1:])
    # Core ML computes scale * byte + bias, which is (byte - zero_point) / std_dev.
    scale, bias = 1 / scaling.std_dev, -scaling.zero_point / scaling.std_dev
    if not options["image_input"]:
        image = coremltools.TensorType(name=names.input, shape=shape)
    elif shape[3] in (1, 3):
        layout = coremltools.colorlayout.RGB if shape[3] == 3 else coremltools.colorlayout.GRAYSCALE  # noqa: PLR2004
        biases = [bias] * 3 if shape[3] == 3 else bias  # noqa: PLR2004
        image = coremltools.ImageType(name=names.input, shape=shape, scale=scale, bias=biases, color_layout=layout)
    else:
        facts = [("channels", shape[3])]
        raise DeployError("Core ML takes images of 1 or 3 channels.", facts, '"image_input": false')
    precision = {"compute_precision": coremltools.precision.FLOAT32} if kind == "mlprogram" else {}
    try:
        return coremltools.convert(
            graph,
            source="tensorflow",
            inputs=[image],
            outputs=[coremltools.TensorType(name=names.output)],
            classifier_config=coremltools.ClassifierConfig(list(subject.class_names)),
            convert_to=kind,
            **precision,
        )
    except Exception as fault:  # coremltools raises errors of many types
        raise DeployError("coremltools cannot convert the network.", [("to", kind), ("reason", fault)]) from fault


def _save(model: Any, path: Path) -> None:
    """Write a model without date and random identifiers, so that equal models have equal bytes."""
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


def _for_a_mac(subject: Subject, options: Mapping[str, Any], out: Path) -> None:
    np.save(out / "images.npy", subject.samples.images[:_MAC_IMAGES])
    np.save(out / "expected.npy", subject.probabilities[:_MAC_IMAGES].astype(np.float32))
    (out / "labels.txt").write_text("".join(f"{name}\n" for name in subject.class_names), encoding="utf-8")
    (out / "predict_on_mac.py").write_text(_SCRIPT.format(as_image=bool(options["image_input"])), encoding="utf-8")
