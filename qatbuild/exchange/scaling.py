"""The inputs of a network: bytes with a scaling that is the same in every stage, or real values."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_MOST = 255


class Channels(NamedTuple):
    """Means and deviations by channel, in the network's order of channels: real = (byte - mean) / std_dev."""

    means: tuple[float, ...]
    std_devs: tuple[float, ...]


class Scaling(NamedTuple):
    """How bytes become the real values of a graph's input: real = (byte - zero_point) / std_dev.

    `mean` is the spec's, 0..255. `order` is that of the colours as the network takes them: "rgb", as all datasets have
    them, or "bgr". Every stage computes with the zero point, never with a fractional mean, so that
    training, evaluation, conversion and deployment agree: a .tflite can only hold a byte.

    With `channels`, the network reads a product and a sum by channel of these values (`factors` and `shifts`), which
    become a part of its first layers: a .tflite has one scale and one zero point for all channels.
    """

    mean: float
    std_dev: float
    order: str = "rgb"
    channels: Channels | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Scaling:
        """Reads an input of the setting "inputs"; `mean` and `std_dev` may be lists, one value a channel."""
        mean, std_dev, order = fields["mean"], fields["std_dev"], fields.get("order", "rgb")
        count = max(len(each) if isinstance(each, list | tuple) else 0 for each in (mean, std_dev))
        if not count:
            return cls(float(mean), float(std_dev), order)
        return cls.by_channel(Channels(_each(mean, count), _each(std_dev, count)), order)

    @classmethod
    def by_channel(cls, channels: Channels, order: str = "rgb") -> Scaling:
        """Returns the scaling whose graph input all channels share.

        Its zero point is that of all means, if they have the same, else 0. Its std_dev is that of all channels, if they
        have the same, else 1.
        """
        means = {*channels.means} if len({*map(_nearest, channels.means)}) == 1 else {0.0}
        std_devs = {*channels.std_devs} if len({*channels.std_devs}) == 1 else {1.0}
        return cls(min(means), min(std_devs), order, channels)

    @property
    def zero_point(self) -> int:
        """The byte nearest to the mean, halves up, as TensorFlow nudges a zero point: 127.5 becomes 128."""
        return _nearest(self.mean)

    @property
    def factors(self) -> tuple[float, ...]:
        """What the values of each channel are multiplied by in the network; empty if the scaling has no channels."""
        return tuple(self.std_dev / each for each in self.channels.std_devs) if self.channels else ()

    @property
    def shifts(self) -> tuple[float, ...]:
        """What is added to the products; 0 if all means have the same zero point."""
        if self.channels is None or self._one_mean:
            return (0.0,) * len(self.factors)
        return tuple(-mean / std_dev for mean, std_dev in zip(*self.channels, strict=True))

    @property
    def bytes_of_zero(self) -> tuple[int, ...]:
        """The byte nearest to 0.0: one for all channels, or one for each in the network's order."""
        return tuple(map(_nearest, self.channels.means)) if self.channels else (self.zero_point,)

    @property
    def _one_mean(self) -> bool:
        return self.channels is None or len({*map(_nearest, self.channels.means)}) == 1

    @property
    def real_range(self) -> tuple[float, float]:
        """The real values of the bytes 0 and 255, in the graph's input."""
        return -self.zero_point / self.std_dev, (_MOST - self.zero_point) / self.std_dev

    @property
    def spec(self) -> dict[str, Any]:
        """The fields `mean` and `std_dev` of the spec: numbers, or lists by channel."""
        mean, std_dev = (list(each) for each in self.channels) if self.channels else (self.mean, self.std_dev)
        return {"mean": mean, "std_dev": std_dev}

    def to_json(self) -> dict[str, Any]:
        """The scaling as report.json shows it."""
        order = {} if self.order == "rgb" else {"order": self.order}
        return {**self.spec, "zero_point": self.zero_point, **order}

    def rounding(self, name: str) -> str:
        """A sentence about the mean that was taken for the input `name`; '' for one that is a byte.

        Different means by channel are not rounded.
        """
        fractional = [each for each in (self.channels.means if self.channels else [self.mean]) if each % 1]
        if not fractional or not self._one_mean:
            return ""
        return (
            f"The mean of the input {name} is {fractional[0]:g}: a zero point is a byte, and the nearest, "
            f"{self.zero_point}, was taken in training, evaluation, conversion and deployment alike."
        )

    def real(self, values: Any, divide: Callable[[Any, Any], Any] = operator.truediv) -> Any:
        """The graph's input of bytes that were cast to float32, an array or tensor of any shape; float32.

        `divide` makes the quotient, for a graph in which it has a name.
        """
        return divide(values - float(self.zero_point), self.std_dev)


class RealInput(NamedTuple):
    """An input of real values. `range` are those of the least and the greatest integer, None: learnt or measured."""

    range: tuple[float, float] | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> RealInput:
        """Reads an input of the setting "inputs"."""
        ends = fields.get("range")
        return cls(None if ends is None else (float(ends[0]), float(ends[1])))

    def to_json(self) -> dict[str, Any]:
        """The input as report.json shows it."""
        return {"real": True, "range": self.range and list(self.range)}

    def rounding(self, name: str) -> str:  # noqa: ARG002
        """Real values have no mean to round."""
        return ""


InputScaling = Scaling | RealInput


def read_inputs(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, InputScaling]:
    """Reads the setting "inputs": a scaling by the name of the input."""
    return {name: RealInput.of(each) if each.get("real") else Scaling.of(each) for name, each in settings.items()}


def _nearest(mean: float) -> int:
    return math.floor(mean + 0.5)


def _each(value: Any, count: int) -> tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, list | tuple) else (float(value),) * count
