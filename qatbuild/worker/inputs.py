"""The inputs of a network: which column of the dataset each takes, and how its values become real and integer ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.facts import IntegerTensor
from qatbuild.exchange.scaling import InputScaling, RealInput

Arrays = dict[str, NDArray[Any]]
_HALF = 0.5


@dataclass(frozen=True)
class NetworkInput:
    """One input of the network: the column of the dataset that it takes, its shape without the batch, its scaling."""

    column: str
    shape: tuple[int, ...]
    scaling: InputScaling

    @property
    def dtype(self) -> str:
        """The type of the raw values: float32 for real values, else uint8."""
        return "float32" if isinstance(self.scaling, RealInput) else "uint8"

    def raw(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Returns rows of the column [n, *shape] as the network takes them: real, or bytes in its order of colours."""
        if isinstance(self.scaling, RealInput):
            return rows.astype(np.float32, copy=False)
        return rows if self.scaling.order == "rgb" else np.ascontiguousarray(rows[..., ::-1])

    def real(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Returns the real values float32 [n, *shape] of raw ones, as a graph's placeholder takes them."""
        values: NDArray[np.float32] = raw.astype(np.float32)
        return values if isinstance(self.scaling, RealInput) else self.scaling.real(values)

    def by_channel(self, reals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the values float32 [n, *shape] that the network reads, from those of the graph's placeholder."""
        if isinstance(self.scaling, RealInput) or not self.scaling.factors:
            return reals
        factors, shifts = (np.array(each, np.float32) for each in (self.scaling.factors, self.scaling.shifts))
        values: NDArray[np.float32] = reals * factors + shifts
        return values

    @property
    def fill(self) -> int | tuple[int, ...]:
        """The byte nearest to the real value 0.0; one for each channel of the column where these differ."""
        if isinstance(self.scaling, RealInput):
            return 0
        zeros = self.scaling.bytes_of_zero[:: 1 if self.scaling.order == "rgb" else -1]
        return zeros[0] if len({*zeros}) == 1 else zeros

    def integers(self, raw: NDArray[Any], tensor: IntegerTensor) -> NDArray[Any]:
        """Returns raw values as the .tflite takes them: uint8 or int8 of the same shape.

        A byte stays, 128 less for int8. A real value becomes round(r / S) + Z, halves away from 0 as C's `round` does
        it on a device, and saturates.
        """
        if isinstance(self.scaling, RealInput):
            limits = np.iinfo(tensor.dtype)
            steps = raw.astype(np.float64) / tensor.scale
            whole = np.trunc(steps)
            rounded = whole + np.where(np.abs(steps - whole) >= _HALF, np.copysign(1.0, steps), 0.0)
            return np.clip(rounded + tensor.zero_point, limits.min, limits.max).astype(tensor.dtype)
        # An int8 model's zero point is 128 lower: the same bytes with the highest bit inverted.
        return raw if tensor.dtype == "uint8" else (raw ^ 0x80).view(np.int8)


Inputs = Mapping[str, NetworkInput]
"""The inputs of a network by name."""


def raw_values(inputs: Inputs, rows: Mapping[str, NDArray[Any]]) -> Arrays:
    """Returns the raw values of each input from the columns of some examples."""
    return {name: each.raw(rows[each.column]) for name, each in inputs.items()}


def real_values(inputs: Inputs, raw: Mapping[str, NDArray[Any]]) -> Arrays:
    """Returns the real values of each input from its raw ones."""
    return {name: each.real(raw[name]) for name, each in inputs.items()}


def integer_values(inputs: Inputs, raw: Mapping[str, NDArray[Any]], tensors: Mapping[str, IntegerTensor]) -> Arrays:
    """Returns the integers of each input from its raw values, as the .tflite with these input tensors takes them."""
    return {name: each.integers(raw[name], tensors[name]) for name, each in inputs.items()}
