"""From a built model to a target: one file a route, each with one function `build(subject, options, out) -> Outcome`.

    litert         model.tflite with metadata             tf_cpp   the frozen graph in a C program
    armnn          model.tflite in Arm NN's CpuRef        vela     model.tflite for an Ethos-U NPU
    coreml         the float graph for Apple's devices    c_array  model.tflite as C, for microcontrollers
    round_weights  graphs that compress better            onnx     model.tflite as ONNX

A route writes what a developer for its target expects below `out`, runs it where that is possible, and says what it
found. It knows tensors and files, not specs; what it cannot do is a DeployError that says how to mend it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Subject:
    """What is deployed, and the images that it is tried on.

    `images` are uint8 [n, height, width, channels], `truth` their classes [n]; real = (byte - mean) / std_dev is what
    the graphs take. `reference` holds LiteRT's outputs for the images [n, classes], raw integers of its reference
    kernels, of which one step is `scale` and 0.0 is `zero_point`. `sources` are files that the route asked for, `work`
    is a folder for what is not to be published. The graphs are None for a route that does not ask for them.
    """

    name: str
    tflite: Path
    frozen_graph: Path | None
    float_graph: Path | None
    graph_input: str
    graph_output: str
    mean: float
    std_dev: float
    scheme: str
    class_names: tuple[str, ...]
    images: NDArray[np.uint8]
    truth: NDArray[np.int32]
    reference: NDArray[Any]
    scale: float
    zero_point: int
    sources: Mapping[str, Path]
    work: Path

    @property
    def real_images(self) -> NDArray[np.float32]:
        """The images as the graphs take them."""
        return (self.images.astype(np.float32) - np.float32(self.mean)) / np.float32(self.std_dev)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The reference's outputs as real numbers [n, classes]."""
        return self.real(self.reference)

    def real(self, integers: NDArray[Any]) -> NDArray[np.float64]:
        """Outputs of the .tflite's own kind as real numbers."""
        return (integers.astype(np.float64) - self.zero_point) * self.scale


@dataclass(frozen=True)
class Outcome:
    """What a route made and found.

    `artifact` is the file or folder that goes to the target, `versions` are of the tools it used.
    `answers`: file -> its probabilities for the images [n, classes]; the first one is the route's own, the others stand
    beside it. Where nothing could be run `why_not_run` says so. `gates` are as in report.json. `figures` are the
    route's own findings, plain data, `notes` the few of them that a table shows, in
    words; `warnings` are sentences for the user.
    """

    artifact: str
    versions: Mapping[str, str]
    answers: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    why_not_run: str = ""
    gates: tuple[dict[str, Any], ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def agreement_percent(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Share of the rows of two score tables [n, classes] that have their highest score at the same class, in percent.

    Of equal scores the lowest class counts.
    """
    return round(100 * float(np.mean(np.argmax(ours, axis=1) == np.argmax(theirs, axis=1))), 4)


def agreement_gate(wanted: float | None, got: float, with_what: str) -> tuple[dict[str, Any], ...]:
    """The gate `min_agreement`, if there is to be one."""
    if wanted is None:
        return ()
    text = f"at least {wanted:g} % with {with_what}"
    return ({"name": "min_agreement", "wanted": text, "got": f"{got:g} %", "passed": got >= wanted},)
