"""The results of stages, for later stages and for the report: one record for each stage, and their parts.

A manifest holds the facts as JSON: `to_json` writes it, `of` reads it. Figures in percent are 0..100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Json = Mapping[str, Any]
Percent = float


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
        """Read a gate of a manifest, report.json or route.json."""
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
        """Read what `to_json` wrote."""
        return cls(fields["dtype"], fields["scale"], fields["zero_point"], tuple(fields["shape"]))

    def real(self, integers: Any) -> Any:
        """The real values of integers that were cast to float64, an array of any shape; float64."""
        return (integers - self.zero_point) * self.scale


class Statistics(NamedTuple):
    """Population mean and standard deviation of images in bytes, 0..255: by channel, and over all channels."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    mean_all: float
    std_all: float


class DatasetFacts(NamedTuple):
    """The stage `dataset`.

    `shape` is [height, width, channels] of an image, `counts` images by split, `class_counts` images of each class
    by split, `statistics` those of the training images, `notes` sentences for the report.
    """

    shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...]
    counts: Mapping[str, int]
    class_counts: Mapping[str, Sequence[int]]
    statistics: Statistics
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return _flat(self, "statistics")

    @classmethod
    def of(cls, facts: Json) -> DatasetFacts:
        """Read the facts of a manifest."""
        height, width, channels = facts["shape"]
        return cls(
            shape=(int(height), int(width), int(channels)),
            classes=int(facts["classes"]),
            class_names=tuple(facts["class_names"]),
            counts=facts["counts"],
            class_counts=facts["class_counts"],
            statistics=Statistics(tuple(facts["mean"]), tuple(facts["std"]), facts["mean_all"], facts["std_all"]),
            notes=tuple(facts["notes"]),
        )


class CheckFacts(NamedTuple):
    """The stage `check`: how many operations of each type the network has."""

    operations: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return plain(self)


class Checkpoints(NamedTuple):
    """The checkpoints that a training or a calibration left.

    `steps` are theirs, ascending; `best` has the highest validation top-1, None without validation images;
    `validation_top1` is in percent, by step.
    """

    steps: tuple[int, ...]
    last: int
    best: int | None
    validation_top1: Mapping[str, float]

    @classmethod
    def of(cls, facts: Json) -> Checkpoints:
        """Read them among the facts of the stages `float` and `quantize`."""
        steps, best = tuple(int(step) for step in facts["steps"]), facts["best"]
        return cls(steps, int(facts["last"]), None if best is None else int(best), facts["validation_top1"])


class FloatFacts(NamedTuple):
    """The stage `float`. `from_weights`: the training began with a checkpoint, of an unknown number of steps."""

    checkpoints: Checkpoints
    from_weights: bool

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return _flat(self, "checkpoints")

    @classmethod
    def of(cls, facts: Json) -> FloatFacts:
        """Read the facts of a manifest."""
        return cls(Checkpoints.of(facts), bool(facts["from_weights"]))


class Rewritten(NamedTuple):
    """What a rewrite left: how many fake quantizations, and [minimum, maximum] by tensor, numbers or one a channel."""

    fake_quants: int
    ranges: Mapping[str, Sequence[Any]]


class QuantizeFacts(NamedTuple):
    """The stage `quantize`."""

    checkpoints: Checkpoints
    rewritten: Rewritten
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return _flat(self, "checkpoints", "rewritten")


class ExportFacts(NamedTuple):
    """The stage `export`: names of operations of both graphs, and the layers that the overrides keep in float."""

    input: str
    logits: str
    output: str
    shape: tuple[int, int, int]
    classes: int
    float_layers: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return plain(self)

    @classmethod
    def of(cls, facts: Json) -> ExportFacts:
        """Read the facts of a manifest."""
        height, width, channels = facts["shape"]
        shape, float_layers = (int(height), int(width), int(channels)), tuple(facts["float_layers"])
        return cls(facts["input"], facts["logits"], facts["output"], shape, int(facts["classes"]), float_layers)


class FreezeFacts(NamedTuple):
    """The stage `freeze`: the steps of the checkpoints in the two graphs, and names of operations of both."""

    checkpoint_step: int
    float_checkpoint_step: int
    input: str
    output: str

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return plain(self)

    @classmethod
    def of(cls, facts: Json) -> FreezeFacts:
        """Read the facts of a manifest."""
        return cls(*(facts[name] for name in cls._fields))


class ConvertFacts(NamedTuple):
    """The stage `convert`: the .tflite's input, output, operators in the order of execution, size and gates."""

    input: IntegerTensor
    output: IntegerTensor
    operators: tuple[str, ...]
    bytes: int
    gates: tuple[Gate, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return plain(self)

    @classmethod
    def of(cls, facts: Json) -> ConvertFacts:
        """Read the facts of a manifest."""
        return cls(
            input=IntegerTensor.of(facts["input"]),
            output=IntegerTensor.of(facts["output"]),
            operators=tuple(facts["operators"]),
            bytes=int(facts["bytes"]),
            gates=tuple(map(Gate.of, facts["gates"])),
        )


class Top1(NamedTuple):
    """Top-1 on the test images in percent, of the three forms of a model."""

    float: Percent
    fake_quant: Percent
    tflite: Percent


class Agreement(NamedTuple):
    """How well the .tflite agrees with the fake-quantized graph.

    `top1_percent` of the images get the same class; `max_lsb` is the largest difference of a probability, in steps of
    the .tflite's output.
    """

    top1_percent: float
    max_lsb: float


class ModelBytes(NamedTuple):
    """Sizes of a model's files, and the frozen graph's size by that of the .tflite."""

    frozen_graph: int
    float_graph: int
    tflite: int
    ratio: float


class EvaluateFacts(NamedTuple):
    """The stage `evaluate`: report.json without its latencies.

    `scaling` is the spec's mean and std_dev, and the zero point (of bytes) that was taken for the mean. `layers` are
    rows of worker.tflite.layers. `runtimes` says of each runtime what it cannot compute, '' if it computes all.
    `warnings` are sentences about a result that is not what it seems.
    """

    label: str
    examples: int
    top1: Top1
    agreement: Agreement
    bytes: ModelBytes
    input: IntegerTensor
    output: IntegerTensor
    scaling: Mapping[str, float]
    layers: Sequence[Json]
    runtimes: Mapping[str, str]
    warnings: tuple[str, ...]
    gates: tuple[Gate, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return plain(self)

    def report(self, latencies: Sequence[Json]) -> dict[str, Any]:
        """The contents of report.json; the first of the latencies is the .tflite's with the default kernels."""
        first = {name: latencies[0][name] for name in ("median", "p95", "threads", "kernels")}
        fields = self.to_json()
        gates = fields.pop("gates")
        return {**fields, "latency_ms": first, "latencies_ms": list(latencies), "gates": gates}


def plain(record: Any) -> dict[str, Any]:
    """A record and the records in it as JSON's values."""
    return {name: _value(value) for name, value in record._asdict().items()}


def _flat(record: Any, *parts: str) -> dict[str, Any]:
    """A record as JSON's values, the fields of its `parts` among its own."""
    fields = plain(record)
    for part in parts:
        fields |= fields.pop(part)
    return fields


def _value(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return plain(value)
    if isinstance(value, list | tuple):
        return [_value(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _value(each) for name, each in value.items()}
    return value
