"""The scaling of an input of bytes, which is the same in every stage."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Scaling(NamedTuple):
    """How bytes become the network's real input: real = (byte - zero_point) / std_dev.

    `mean` is the spec's, 0..255. Every stage computes with the zero point, never with a fractional mean, so that
    training, evaluation, conversion and deployment agree: a .tflite can only hold a byte.
    """

    mean: float
    std_dev: float

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Scaling:
        """Read the setting "input"."""
        return cls(float(fields["mean"]), float(fields["std_dev"]))

    @property
    def zero_point(self) -> int:
        """The byte nearest to the mean, halves up, as TensorFlow nudges a zero point: 127.5 becomes 128."""
        return math.floor(self.mean + 0.5)

    def to_json(self) -> dict[str, float]:
        """The scaling as report.json shows it."""
        return {"mean": self.mean, "std_dev": self.std_dev, "zero_point": self.zero_point}

    @property
    def rounding(self) -> str:
        """A sentence about the mean that was taken instead of a fractional one; '' for a mean that is a byte."""
        if self.zero_point == self.mean:
            return ""
        return (
            f"input.mean is {self.mean:g}: a zero point is a byte, and the nearest, {self.zero_point}, was taken in"
            " training, evaluation, conversion and deployment alike."
        )

    def real(self, values: Any, divide: Callable[[Any, Any], Any] = operator.truediv) -> Any:
        """The real values of bytes that were cast to float32, an array or tensor of any shape; float32.

        `divide` makes the quotient, for a graph in which it has a name.
        """
        return divide(values - float(self.zero_point), self.std_dev)


UNSCALED = Scaling(0.0, 1.0)
"""For stages that see no bytes."""
