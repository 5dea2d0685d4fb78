"""Models to deploy, without a request: a file, what its inputs and outputs are, and samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.exchange.facts import IntegerTensor
from qatbuild.exchange.outputs import Output
from qatbuild.exchange.scaling import RealInput, Scaling
from qatbuild.worker.deploy import Samples, Subject
from qatbuild.worker.inputs import NetworkInput, integer_values
from qatbuild.worker.tasks import Metric, Task
from qatbuild.worker.tasks.classification import Classification
from qatbuild.worker.tasks.regression import Regression
from qatbuild.worker.tflite.convert import convert
from qatbuild.worker.tflite.ends import wanted

BYTES = Scaling(121, 64)


def classification(classes: int, name: str = "labels") -> Task:
    return Classification(name, (Metric("top1", percent=True),), (name,), {name: classes}, values="probabilities")


def regression(size: int, name: str) -> Task:
    return Regression(name, Output(task="regression", loss="mse"), (name,), (size,))


def converted(graph: Path, scheme: str = "uint8") -> bytes:
    """The .tflite of a graph from `input`, bytes, to `Softmax`."""
    ends = wanted(graph, {"images": ("input", BYTES)}, {"labels": "Softmax"}, scheme)
    return convert(graph, ends, scheme=scheme)


def classifier(tflite: Path, raw: np.ndarray, reference: np.ndarray, work: Path, **fields: Any) -> Subject:
    """A classifier of images of bytes [n, height, width, channels]; `reference` are its integers [n, classes]."""
    dtype, classes = str(reference.dtype), reference.shape[1]
    lowest = np.iinfo(reference.dtype).min
    takes = {"images": IntegerTensor(dtype, 1 / BYTES.std_dev, BYTES.zero_point + lowest, (1, *raw.shape[1:]))}
    gives = {"labels": IntegerTensor(dtype, 1 / 256, lowest, (1, classes))}
    inputs = {"images": NetworkInput("images", raw.shape[1:], BYTES)}
    integers = integer_values(inputs, {"images": raw}, takes)
    targets = {"labels": np.zeros(len(raw), np.int32)}
    samples = Samples({"images": raw}, integers, targets, {"labels": reference})
    subject = Subject(
        name="net",
        tflite=tflite,
        scheme="uint8" if dtype == "uint8" else "int8",
        inputs=inputs,
        tasks={"labels": classification(classes)},
        takes=takes,
        gives=gives,
        class_names={"labels": tuple("abcdefghij"[:classes])},
        samples=samples,
        graphs=None,
        sources={},
        work=work,
    )
    return Subject(**{**vars(subject), **fields})


def with_reals(tflite: Path, raw: dict[str, np.ndarray], reference: dict[str, np.ndarray], work: Path) -> Subject:
    """A model with the real input `features` besides `images`, and the output `pose`, reals, besides `labels`."""
    first = classifier(tflite, raw["images"], reference["labels"], work)
    dtype, size = str(reference["pose"].dtype), reference["pose"].shape[1]
    inputs = {"features": NetworkInput("features", raw["features"].shape[1:], RealInput()), **first.inputs}
    takes = {"features": IntegerTensor(dtype, 1 / 32, 3, (1, *raw["features"].shape[1:])), **first.takes}
    targets = {**first.samples.targets, "pose": np.zeros((len(raw["features"]), size), np.float32)}
    samples = Samples(raw, integer_values(inputs, raw, takes), targets, reference)
    return Subject(
        **{
            **vars(first),
            "inputs": inputs,
            "takes": takes,
            "gives": {**first.gives, "pose": IntegerTensor(dtype, 1 / 16, -2, (1, size))},
            "tasks": {**first.tasks, "pose": regression(size, "pose")},
            "samples": samples,
        }
    )
