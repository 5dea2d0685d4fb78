"""The inputs and outputs of Core ML models, and the files that compare them on a Mac."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.errors import DeployError
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker.deploy import Subject, is_image
from qatbuild.worker.inputs import NetworkInput

_MAC_EXAMPLES = 100
_RGB = 3
_CHANNELS = (1, _RGB)

_SCRIPT = '''\
"""Compare both Core ML models with LiteRT, on a Mac: pip install coremltools numpy pillow; python predict_on_mac.py"""

from pathlib import Path

import coremltools
import numpy
from PIL import Image

HERE = Path(__file__).parent
with numpy.load(HERE / "inputs.npz") as inputs, numpy.load(HERE / "expected.npz") as expected:
    INPUTS, EXPECTED = dict(inputs), dict(expected)  # images are bytes, all else real
IMAGES, OUTPUTS = {images}, {outputs}
LABELS = {labels}


def as_input(name, values):
    """Convert an image, or the real values of an example, to an input of the model."""
    if name not in IMAGES:
        return values[numpy.newaxis].astype(numpy.float32)
    return Image.fromarray(values.squeeze(), "L" if values.shape[2] == 1 else "RGB")


for file in ("model.mlpackage", "model.mlmodel"):
    model = coremltools.models.MLModel(str(HERE / file))
    description = model.get_spec().description
    table, gives = description.predictedProbabilitiesName, [each.name for each in description.output]
    count = len(next(iter(INPUTS.values())))
    answers = [
        model.predict({{name: as_input(name, each[row]) for name, each in INPUTS.items()}}) for row in range(count)
    ]
    print(f"{{file}}, {{count}} examples:")
    for name, given in zip(OUTPUTS, [table] if LABELS else gives):
        scores = [[answer[given][label] for label in LABELS] if LABELS else answer[given] for answer in answers]
        expected = EXPECTED[name]
        scores = numpy.array(scores).reshape(expected.shape)
        if LABELS:
            print(f"    top-1 as LiteRT for {{100 * numpy.mean(scores.argmax(1) == expected.argmax(1)):.1f}} %")
        print(f"    {{name}} differs by up to {{numpy.abs(scores - expected).max():.4g}}")
'''


def inputs(coremltools: Any, subject: Subject, *, as_images: bool) -> list[Any]:
    """Returns the types of the inputs: images, with their scaling, or tensors of real values."""
    assert subject.graphs is not None
    taken = []
    for name, operation in subject.graphs.inputs.items():
        each = subject.inputs[name]
        if as_images and is_image(each):
            taken.append(_image(coremltools, operation, each))
        else:
            taken.append(coremltools.TensorType(name=operation, shape=(1, *each.shape)))
    return taken


def _image(coremltools: Any, operation: str, each: NetworkInput) -> Any:
    """Returns the type of an image; DeployError if it has neither 1 nor 3 channels."""
    assert isinstance(each.scaling, Scaling)
    channels = each.shape[2]
    if channels not in _CHANNELS:
        raise DeployError("Core ML takes images of 1 or 3 channels.", [("channels", channels)], '"image_input": false')
    # Core ML computes scale * byte + bias, which is (byte - zero_point) / std_dev.
    scale, bias = 1 / each.scaling.std_dev, -each.scaling.zero_point / each.scaling.std_dev
    layouts = coremltools.colorlayout
    layout = layouts.GRAYSCALE
    if channels == _RGB:
        layout = layouts.RGB if each.scaling.order == "rgb" else layouts.BGR
    biases = [bias] * _RGB if channels == _RGB else bias
    shape = (1, *each.shape)
    return coremltools.ImageType(name=operation, shape=shape, scale=scale, bias=biases, color_layout=layout)


def outputs(coremltools: Any, subject: Subject) -> dict[str, Any]:
    """Returns the arguments for the outputs: those of a classifier, or tensors."""
    assert subject.graphs is not None
    arguments = {"outputs": [coremltools.TensorType(name=operation) for operation in subject.graphs.outputs.values()]}
    if subject.lone_classes:
        arguments["classifier_config"] = coremltools.ClassifierConfig(list(subject.lone_classes))
    return arguments


def write_for_a_mac(subject: Subject, out: Path, *, as_images: bool) -> None:
    """Writes predict_on_mac.py, its examples and what LiteRT gives for them, and labels.txt of a classifier."""
    assert subject.graphs is not None
    operations, reals = subject.graphs.inputs, subject.reals
    images = [name for name, each in subject.inputs.items() if as_images and is_image(each)]
    examples = {operations[name]: _as_taken(subject, name) if name in images else reals[name] for name in operations}
    expected = {subject.graphs.outputs[name]: each.astype(np.float32) for name, each in subject.reference.items()}
    _save(out / "inputs.npz", examples)
    _save(out / "expected.npz", expected)
    labels = list(subject.lone_classes)
    if labels:
        (out / "labels.txt").write_text("".join(f"{name}\n" for name in labels), encoding="utf-8")
    script = _SCRIPT.format(
        images=[operations[name] for name in images], outputs=list(subject.graphs.outputs.values()), labels=labels
    )
    (out / "predict_on_mac.py").write_text(script, encoding="utf-8")


def _as_taken(subject: Subject, name: str) -> NDArray[Any]:
    """Returns the bytes of an image as Core ML takes them: it turns the colours itself."""
    raw, scaling = subject.samples.raw[name], subject.inputs[name].scaling
    return raw[..., ::-1] if isinstance(scaling, Scaling) and scaling.order == "bgr" else raw


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    first: Any = {name: each[:_MAC_EXAMPLES] for name, each in arrays.items()}
    np.savez(path, **first)
