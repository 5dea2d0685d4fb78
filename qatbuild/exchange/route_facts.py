"""The facts of a stage `deploy.ROUTE`: the contents of route.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from qatbuild.exchange.facts import Gate, Json, plain


class OutputComparison(NamedTuple):
    """One output of a route's file against the same output of a reference.

    `same_percent` of the answers (classes of images or pixels, each column of a multilabel) are the same, None for
    outputs of real values; `near_percent` of the values are at most 2 steps of the .tflite's output apart; `max_lsb` is
    the largest and `rmse_lsb` the quadratic mean of the differences, in the same steps.
    """

    same_percent: float | None
    near_percent: float
    max_lsb: float
    rmse_lsb: float


class Comparison(NamedTuple):
    """A route's file against LiteRT's reference kernels on test examples.

    `top1_percent`, `max_lsb` and `rmse_lsb` are the worst of `outputs`; without answers the first is left None.
    `accuracy_percent` is the top-1 of a model that only classifies, else None. `metrics` are the file's on these
    examples, named as in report.json.
    """

    file: str
    examples: int
    top1_percent: float | None
    max_lsb: float
    rmse_lsb: float
    accuracy_percent: float | None
    metrics: Mapping[str, float]
    outputs: Mapping[str, OutputComparison]

    @classmethod
    def of(
        cls, file: str, examples: int, outputs: Mapping[str, OutputComparison], metrics: Mapping[str, float]
    ) -> Comparison:
        """Returns the comparison with these outputs."""
        same = [each.same_percent for each in outputs.values() if each.same_percent is not None]
        return cls(
            file=file,
            examples=examples,
            top1_percent=min(same, default=None),
            max_lsb=max(each.max_lsb for each in outputs.values()),
            rmse_lsb=max(each.rmse_lsb for each in outputs.values()),
            accuracy_percent=metrics.get("top1"),
            metrics=metrics,
            outputs=outputs,
        )


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
