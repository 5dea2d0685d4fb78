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


class Graphs(NamedTuple):
    """The frozen graph, the float one beside it, and the names of their input and output operations."""

    frozen: Path
    float: Path
    input: str
    output: str


class Samples(NamedTuple):
    """Test images to compare on.

    `images` are uint8 [n, height, width, channels], `labels` their classes [n]; the graphs take the real values of
    `scaling`. `reference` holds the outputs of LiteRT's `kernels` [n, classes], integers: the reference kernels, or the
    optimized ones ("builtin") where those cannot compute the model (worker.tflite.reference).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    scaling: Scaling
    reference: NDArray[Any]
    kernels: str = "reference"

    @property
    def kernels_in_words(self) -> str:
        """The kernels that made `reference`: "reference kernels"."""
        return "reference kernels" if self.kernels == "reference" else "optimized kernels"


@dataclass(frozen=True)
class Subject:
    """The model to deploy.

    `graphs` may be None: only some routes read them. `sources` are the route's files by role; `work` is a folder for
    files that are not published.
    """

    name: str
    tflite: Path
    scheme: str
    output: IntegerTensor
    class_names: tuple[str, ...]
    samples: Samples
    graphs: Graphs | None
    sources: Mapping[str, Path]
    work: Path

    @property
    def integer_images(self) -> NDArray[Any]:
        """Return the images as the .tflite takes them; an int8 value is the byte minus 128."""
        images = self.samples.images
        return images if self.scheme == "uint8" else (images ^ 0x80).view(np.int8)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Return the reference's outputs as real numbers [n, classes]."""
        return self.real(self.samples.reference)

    def real(self, integers: NDArray[Any]) -> NDArray[np.float64]:
        """Convert outputs of the .tflite to real numbers."""
        real: NDArray[np.float64] = self.output.real(integers.astype(np.float64))
        return real


@dataclass(frozen=True)
class Outcome:
    """The result of a route.

    artifact     the file or folder for the target
    versions     version of each tool
    answers      file -> its probabilities for the images [n, classes], the main file first
    why_not_run  the reason if no file could be run, else ''
    figures      measurements of the route, as plain data
    notes        a few figures in words, for a table
    warnings     sentences for the user
    """

    artifact: str
    versions: Mapping[str, str]
    answers: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    why_not_run: str = ""
    gates: tuple[Gate, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def agreement_percent(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Return the share, in percent, of the rows of two score tables [n, classes] with the same class of highest score.

    If scores are equal, the lowest class counts.
    """
    return round(100 * float(np.mean(np.argmax(ours, axis=1) == np.argmax(theirs, axis=1))), 4)


def differing_percent(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Return the share, in percent, of the values in which two arrays of one shape differ."""
    return round(100 * float(np.mean(ours != theirs)), 4)


def agreement_gate(wanted: float | None, got: float, reference: str) -> tuple[Gate, ...]:
    """Return the gate `min_agreement` with `reference`, in percent; no gate without `wanted`."""
    if wanted is None:
        return ()
    text = f"at least {wanted:g} % with {reference}"
    return (Gate("min_agreement", text, f"{got:g} %", passed=got >= wanted),)
