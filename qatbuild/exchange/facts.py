"""The results of stages, for later stages and for the report: one record for each stage, and their parts.

A manifest holds the facts as JSON: `to_json` writes it, `of` reads it. Figures in percent are 0..100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Json = Mapping[str, Any]
Figure = float


class StageFacts(Protocol):
    """The record of any stage's facts."""

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""


class Gate(NamedTuple):
    """A condition that a model must meet: what was wanted, what it is, in words."""

    name: str
    wanted: str
    got: str
    passed: bool

    def to_json(self) -> dict[str, Any]:
        """The gate as report.json and route.json show it."""
        return plain(self)

    @classmethod
    def of(cls, fields: Json) -> Gate:
        """Reads a gate of a manifest, report.json or route.json."""
        return cls(fields["name"], fields["wanted"], fields["got"], fields["passed"])

    @property
    def row(self) -> tuple[str, str]:
        """A failed gate as a row of an error: its name, and what was wanted and got."""
        return self.name, f"wanted {self.wanted}\ngot {self.got}"


class IntegerTensor(NamedTuple):
    """An input or output of a .tflite: real = scale * (integer - zero_point). The shape begins with the batch."""

    dtype: str
    scale: float
    zero_point: int
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """The tensor as report.json shows it."""
        return plain(self)

    @classmethod
    def of(cls, fields: Json) -> IntegerTensor:
        """Reads what `to_json` wrote."""
        return cls(fields["dtype"], fields["scale"], fields["zero_point"], tuple(fields["shape"]))

    def real(self, integers: Any) -> Any:
        """The real values of integers that were cast to float64, an array of any shape; float64."""
        return (integers - self.zero_point) * self.scale


class CheckFacts(NamedTuple):
    """The stage `check`: how many operations of each type the network has, and names of operations of its graph.

    `inputs` are the placeholders by input, `tensors` and `outputs` the network's tensors and their results by name.
    """

    operations: Mapping[str, int]
    inputs: Mapping[str, str]
    tensors: Mapping[str, str]
    outputs: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return plain(self)

    @classmethod
    def of(cls, facts: Json) -> CheckFacts:
        """Reads the facts of a manifest."""
        return cls(facts["operations"], facts["inputs"], facts["tensors"], facts["outputs"])


class Checkpoints(NamedTuple):
    """The checkpoints that a training or a calibration left.

    `steps` are theirs, ascending; `best` has the best validation figure, None without validation examples;
    `validation` are the figures of `metric` by step.
    """

    steps: tuple[int, ...]
    last: int
    best: int | None
    metric: str
    validation: Mapping[str, float]

    @classmethod
    def of(cls, facts: Json) -> Checkpoints:
        """Reads them among the facts of the stages `float` and `quantize`."""
        steps, best = tuple(int(step) for step in facts["steps"]), facts["best"]
        last, metric = int(facts["last"]), str(facts["metric"])
        return cls(steps, last, None if best is None else int(best), metric, facts["validation"])


class Curve(NamedTuple):
    """Points of a training, at most 200: steps from 1, the mean loss since the previous point, the learning rate."""

    step: tuple[int, ...]
    loss: tuple[float, ...]
    learning_rate: tuple[float, ...]


class FloatFacts(NamedTuple):
    """The stage `float`. `from_weights`: the training began with a checkpoint, of an unknown number of steps.

    Without a step it has no `curve`: None.
    """

    checkpoints: Checkpoints
    from_weights: bool
    curve: Curve | None = None

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest; without a curve they have no such member."""
        return _without_absent(_flat(self, "checkpoints"), "curve")

    @classmethod
    def of(cls, facts: Json) -> FloatFacts:
        """Reads the facts of a manifest."""
        return cls(Checkpoints.of(facts), bool(facts["from_weights"]))


class Rewritten(NamedTuple):
    """What a rewrite left: how many fake quantizations, and [minimum, maximum] by tensor, numbers or one a channel."""

    fake_quants: int
    ranges: Mapping[str, Sequence[Any]]


class QuantizeFacts(NamedTuple):
    """The stage `quantize`. A calibration has no `curve`: None."""

    checkpoints: Checkpoints
    rewritten: Rewritten
    warnings: tuple[str, ...]
    curve: Curve | None = None

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest; without a curve they have no such member."""
        return _without_absent(_flat(self, "checkpoints", "rewritten"), "curve")

    @classmethod
    def of(cls, facts: Json) -> QuantizeFacts:
        """Reads the facts of a manifest."""
        rewritten = Rewritten(int(facts["fake_quants"]), facts["ranges"])
        return cls(Checkpoints.of(facts), rewritten, tuple(facts["warnings"]))


class ExportFacts(NamedTuple):
    """The stage `export`: names of operations of both graphs, and the layers that the overrides keep in float.

    `inputs` are the placeholders by input, `outputs` the results by the network's tensors: one for each output, but for
    a detection NAME/boxes and NAME/scores.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    float_layers: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return plain(self)

    @classmethod
    def of(cls, facts: Json) -> ExportFacts:
        """Reads the facts of a manifest."""
        return cls(facts["inputs"], facts["outputs"], tuple(facts["float_layers"]))


class FreezeFacts(NamedTuple):
    """The stage `freeze`: the steps of the checkpoints in the two graphs, and names of operations of both.

    `warnings` are those of the stage `quantize`: what made the ranges is a part of what the file is.
    """

    checkpoint_step: int
    float_checkpoint_step: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return plain(self)

    @classmethod
    def of(cls, facts: Json) -> FreezeFacts:
        """Reads the facts of a manifest."""
        steps = facts["checkpoint_step"], facts["float_checkpoint_step"]
        return cls(*steps, facts["inputs"], facts["outputs"], tuple(facts["warnings"]))


class ConvertFacts(NamedTuple):
    """The stage `convert`: the .tflite's inputs and outputs, both in the file's order, operators, size and gates.

    The operators are in the order of execution.
    """

    inputs: Mapping[str, IntegerTensor]
    outputs: Mapping[str, IntegerTensor]
    operators: tuple[str, ...]
    bytes: int
    gates: tuple[Gate, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest; the order of inputs and outputs is kept, which an object would lose."""
        sides = {"inputs": self.inputs, "outputs": self.outputs}
        listed = {side: [[name, plain(each)] for name, each in ends.items()] for side, ends in sides.items()}
        return {**plain(self), **listed}

    @classmethod
    def of(cls, facts: Json) -> ConvertFacts:
        """Reads the facts of a manifest."""
        return cls(
            inputs={name: IntegerTensor.of(each) for name, each in facts["inputs"]},
            outputs={name: IntegerTensor.of(each) for name, each in facts["outputs"]},
            operators=tuple(facts["operators"]),
            bytes=int(facts["bytes"]),
            gates=tuple(map(Gate.of, facts["gates"])),
        )


class Figures(NamedTuple):
    """A metric on the test examples, of the three forms of a model.

    `better` is "higher" or "lower"; with `percent` the figures are 0..100, else in the target's unit.
    """

    float: Figure
    fake_quant: Figure
    tflite: Figure
    better: str
    percent: bool

    def loss(self, before: str, after: str) -> Figure:
        """How much worse the form `after` is than the form `before`, in the metric's unit; negative: it is better."""
        difference: Figure = getattr(self, before) - getattr(self, after)
        return difference if self.better == "higher" else -difference


class Agreement(NamedTuple):
    """How well the .tflite agrees with the fake-quantized graph.

    `top1_percent` of the answers (classes of images or pixels, each column of a multilabel) are the same, None for
    outputs of real values; `max_lsb` is the largest and `rmse_lsb` the quadratic mean of the differences, in steps of
    the .tflite's output.
    """

    top1_percent: float | None
    max_lsb: float
    rmse_lsb: float


class ModelBytes(NamedTuple):
    """Sizes of a model's files, and the frozen graph's size by that of the .tflite."""

    frozen_graph: int
    float_graph: int
    tflite: int
    ratio: float


class EvaluateFacts(NamedTuple):
    """The stage `evaluate`: report.json without its latencies.

    `metrics` are by name; with several outputs a name is OUTPUT.METRIC. `agreements` are by the network's tensors,
    `agreement` the worst of each figure. `scalings` are the spec's inputs: mean, std_dev and the zero point (of bytes)
    that was taken for the mean, or {"real": true}. `layers` are rows of worker.tflite.layers. `runtimes` says of each
    runtime what it cannot compute, '' if it computes all. `warnings` are sentences about a result that is not what it
    seems.
    """

    label: str
    examples: int
    metrics: Mapping[str, Figures]
    agreement: Agreement
    agreements: Mapping[str, Agreement]
    bytes: ModelBytes
    inputs: Mapping[str, IntegerTensor]
    outputs: Mapping[str, IntegerTensor]
    scalings: Mapping[str, Json]
    layers: Sequence[Json]
    runtimes: Mapping[str, str]
    warnings: tuple[str, ...]
    gates: tuple[Gate, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return plain(self)

    def report(self, latencies: Sequence[Json]) -> dict[str, Any]:
        """The contents of report.json; the first of the latencies is the .tflite's with the default kernels.

        A model with one input, one output, or one classification has `input` and `scaling`, `output`, `top1`, too.
        """
        first = {name: latencies[0][name] for name in ("median", "p95", "threads", "kernels")}
        fields = self.to_json()
        gates = fields.pop("gates")
        lone = {name: fields[f"{name}s"] for name in ("input", "output", "scaling")}
        short = {name: next(iter(each.values())) for name, each in lone.items() if len(each) == 1}
        if "top1" in fields["metrics"]:
            short["top1"] = {form: fields["metrics"]["top1"][form] for form in ("float", "fake_quant", "tflite")}
        return {**fields, **short, "latency_ms": first, "latencies_ms": list(latencies), "gates": gates}


def plain(record: Any) -> dict[str, Any]:
    """A record and the records in it as JSON's values."""
    return {name: _value(value) for name, value in record._asdict().items()}


def _flat(record: Any, *parts: str) -> dict[str, Any]:
    """A record as JSON's values, the fields of its `parts` among its own."""
    fields = plain(record)
    for part in parts:
        fields |= fields.pop(part)
    return fields


def _without_absent(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in fields.items() if each != name or value is not None}


def _value(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return plain(value)
    if isinstance(value, list | tuple):
        return [_value(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _value(each) for name, each in value.items()}
    return value
