"""The facts of a stage `deploy.ROUTE`: the contents of route.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from qatbuild.exchange.facts import Gate, Json, plain


class Comparison(NamedTuple):
    """A route's file against LiteRT's reference kernels on test images.

    `top1_percent` of the images get the same class, `accuracy_percent` the true one; `max_lsb` is the largest
    difference of a probability, in steps of the .tflite's output.
    """

    file: str
    examples: int
    top1_percent: float
    max_lsb: float
    accuracy_percent: float


class RouteFile(NamedTuple):
    """A file of a route."""

    name: str
    bytes: int
    sha256: str


class Reference(NamedTuple):
    """The .tflite that a route starts from, and the runtime whose outputs are compared with."""

    file: str
    bytes: int
    sha256: str
    runtime: str


class DeployFacts(NamedTuple):
    """A stage `deploy.ROUTE`: the contents of route.json, as worker.stages.deploy describes them."""

    route: str
    label: str
    artifact: str
    bytes: int
    versions: Mapping[str, str]
    files: tuple[RouteFile, ...]
    comparison: Comparison | None
    comparisons: tuple[Comparison, ...]
    reference: Reference
    why_not_run: str
    figures: Json
    notes: tuple[str, ...]
    gates: tuple[Gate, ...]
    warnings: tuple[str, ...]
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return plain(self)
