"""Deployment routes: each is a module with one function `build(subject, options, out) -> Outcome`.

A route writes the files for its target below `out`, runs them if possible, and compares the outputs. It knows tensors
and files, not specs. A failure is a DeployError with a hint. The options and dependencies of a route are declared in
qatbuild.schema.routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.facts import Gate, IntegerTensor
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker.inputs import Arrays, Inputs, NetworkInput, real_values
from qatbuild.worker.tasks.protocol import Task
from qatbuild.worker.tflite.interpret import Model

_IMAGE_AXES = 3


class Graphs(NamedTuple):
    """The frozen graph, the float one beside it, and their operations by input and by the network's tensors."""

    frozen: Path
    float: Path
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


class Samples(NamedTuple):
    """Test examples to compare on.

    `raw` are the values of each input: uint8 or float32 [n, *shape], with its order of colours; `integers` the same as
    the .tflite takes them. `targets` are the columns of the dataset that the tasks read, [n, ...]. `reference` holds
    the integers that LiteRT's `kernels` give, [n, ...] by the network's tensors: the reference kernels, or the
    optimized ones ("builtin") where those cannot compute the model (worker.tflite.reference).
    """

    raw: Arrays
    integers: Arrays
    targets: Arrays
    reference: Arrays
    kernels: str = "reference"

    @property
    def number(self) -> int:
        """The number of examples."""
        return len(next(iter(self.raw.values())))

    @property
    def kernels_in_words(self) -> str:
        """The kernels that made `reference`: "reference kernels"."""
        return "reference kernels" if self.kernels == "reference" else "optimized kernels"


@dataclass(frozen=True)
class Subject:
    """The model to deploy.

    inputs       the network's, by name
    tasks        what the outputs are for, by output
    takes        the integers of the .tflite's inputs by name, in the file's order
    gives        those of its outputs, by the network's tensors, in the file's order
    class_names  names of the classes of each output that is a classification
    graphs       None: only some routes read them
    sources      the route's files by role
    work         a folder for files that are not published
    """

    name: str
    tflite: Path
    scheme: str
    inputs: Inputs
    tasks: Mapping[str, Task]
    takes: Mapping[str, IntegerTensor]
    gives: Mapping[str, IntegerTensor]
    class_names: Mapping[str, tuple[str, ...]]
    samples: Samples
    graphs: Graphs | None
    sources: Mapping[str, Path]
    work: Path

    @property
    def reference(self) -> dict[str, NDArray[np.float64]]:
        """Returns the reference's outputs as real values [n, ...], by the network's tensors."""
        return self.real(self.samples.reference)

    @property
    def reals(self) -> Arrays:
        """Returns the real values of the inputs, float32 [n, *shape]."""
        return real_values(self.inputs, self.samples.raw)

    @property
    def lone_image(self) -> NetworkInput | None:
        """Returns the input of a model that takes one image of bytes, else None."""
        first = next(iter(self.inputs.values()))
        return first if len(self.inputs) == 1 and is_image(first) else None

    @property
    def lone_classes(self) -> tuple[str, ...]:
        """Returns the names of the classes of a model that only classifies, else ()."""
        return next(iter(self.class_names.values()), ()) if len(self.tasks) == 1 else ()

    @property
    def examples(self) -> str:
        """Returns what the model takes: "images", or "examples" of anything else."""
        return "images" if all(map(is_image, self.inputs.values())) else "examples"

    def real(self, integers: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
        """Converts outputs of the .tflite to real values, by the network's tensors."""
        return {name: self.gives[name].real(each.astype(np.float64)) for name, each in integers.items()}

    def run(self, file: Path) -> Arrays:
        """Returns the integers that the kernels of the reference give for another .tflite with the same ends."""
        return Model(file, (list(self.takes), list(self.gives)), kernels=self.samples.kernels).run(
            self.samples.integers
        )


@dataclass(frozen=True)
class Outcome:
    """The result of a route.

    artifact     the file or folder for the target
    versions     version of each tool
    answers      file -> its outputs for the samples, real values [n, ...] by the network's tensors; the main file first
    why_not_run  the reason if no file could be run, else ''
    figures      measurements of the route, as plain data
    notes        a few figures in words, for a table
    warnings     sentences for the user
    """

    artifact: str
    versions: Mapping[str, str]
    answers: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    why_not_run: str = ""
    gates: tuple[Gate, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def is_image(each: NetworkInput) -> bool:
    """Whether an input takes bytes [height, width, channels]."""
    return isinstance(each.scaling, Scaling) and len(each.shape) == _IMAGE_AXES


def differing_percent(ours: Mapping[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]) -> float:
    """Returns the share, in percent, of the values in which outputs of one shape differ, over all outputs."""
    differ = sum(int(np.count_nonzero(ours[name] != each)) for name, each in theirs.items())
    return round(100 * differ / max(1, sum(each.size for each in theirs.values())), 4)
