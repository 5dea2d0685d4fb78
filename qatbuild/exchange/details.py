"""What a page shows of one model beside its report.json: details.json, an artifact of the stage `evaluate`.

A part that a model does not have is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

FILE = "details.json"


class Histogram(NamedTuple):
    """How often real values occurred, beside the grid of quantized values that stand for them.

    `counts` are those of equal bins from `minimum` to `maximum`, which hold the whole grid; each is rounded to two
    significant digits, because further ones depend on the machine's order of summation. real = scale * (q - zero_point)
    with q of `bits` bits. With `per_channel` the scales are the smallest and the largest of all channels.
    """

    minimum: float
    maximum: float
    counts: Sequence[int]
    scale: float | Sequence[float]
    zero_point: int
    bits: int
    per_channel: bool


class LayerDetails(NamedTuple):
    """An operator of the .tflite: its place in the network's graph, and the spread of its weights and outputs.

    `inputs` are layers and inputs of the network by name. `position` is that of the layer's row in report.json, None
    without one.
    """

    operator: str
    inputs: Sequence[str]
    position: int | None
    weights: Histogram | None
    activations: Histogram | None


class Confusion(NamedTuple):
    """How often the .tflite answered an example of one class (row) with another or the same one (column)."""

    output: str
    labels: Sequence[str]
    counts: Sequence[Sequence[int]]


class Confused(NamedTuple):
    """A class that the .tflite took for another one, how often, and the first of these examples as base64 of PNG."""

    actual: int
    predicted: int
    count: int  # type: ignore[assignment]  # It hides that of tuples, which a record does not need.
    examples: Sequence[str]


class Details(NamedTuple):
    """The contents of details.json.

    `confusion` is that of the first classification, `confusions` are its most frequent errors. `layers` are by name, in
    the order of execution.
    """

    confusion: Confusion | None
    confusions: Sequence[Confused]
    layers: Mapping[str, LayerDetails]

    def to_json(self) -> dict[str, Any]:
        """The members of details.json."""
        fields: dict[str, Any] = _present(self)
        return fields


def _present(value: Any) -> Any:
    """A value as JSON's; of a record without the fields whose value is absent, None."""
    if hasattr(value, "_asdict"):
        return {name: _present(each) for name, each in value._asdict().items() if each is not None}
    if isinstance(value, list | tuple):
        return [_present(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _present(each) for name, each in value.items()}
    return value
