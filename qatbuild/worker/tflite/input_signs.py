"""Signs of inputs whose real values are rounded to 8 bits: outliers, or one column that is wider than the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from qatbuild.exchange.layer_signs import InputSign
from qatbuild.worker.tflite import inspect, signs
from qatbuild.worker.tflite.layer import Layer


class InputSigns:
    """The inputs of a .tflite, and what is summed up about their values over batches."""

    def __init__(self, model: inspect.Flatbuffer, names: Sequence[str]) -> None:
        """Begins without values; `names` are those of the model's inputs, in its order."""
        self._inputs = {
            name: Layer(name, model.operators[0], model.tensors[index], index)
            for name, index in zip(names, model.inputs, strict=True)
        }

    def add(self, integers: Mapping[str, NDArray[Any]], values: Mapping[str, NDArray[Any]]) -> None:
        """Takes a batch in: the integers of each input, and the real values that they stand for."""
        for name, each in self._inputs.items():
            each.count(integers[name])
            each.add("alone", values[name], {each.index: integers[name]})

    def by_tensor(self) -> dict[int, InputSign]:
        """Returns the signs of inputs that lose by rounding, by tensor. Bytes stand for exact values, and have none."""
        return {each.index: sign for each in self._inputs.values() if (sign := _sign(each)) is not None}


def _sign(layer: Layer) -> InputSign | None:
    db, spread = layer.against["alone"].sqnr_db, layer.spread.signs()
    if db is None or spread.values is None:
        return None
    return InputSign(
        layer.name,
        db,
        spread.range,
        signs.bulk_percent(layer.ordered_counts),
        spread.values,
        spread.clipped_percent,
        spread.channel_percent,
        spread.clipped_db,
    )
