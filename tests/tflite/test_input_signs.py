"""Signs of inputs whose real values are rounded, on values whose signs are clear."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qatbuild.worker.tflite.input_signs import InputSigns
from qatbuild.worker.tflite.inspect import Flatbuffer, Operator, Tensor

SCALE, ZERO = 0.1, -128
"""The grid is 0 .. 25.5."""


def model(*dtypes: str) -> Flatbuffer:
    """A .tflite of one operator that reads inputs of two columns."""
    tensors = tuple(Tensor(dtype, dtype, (1, 2), (SCALE,), (ZERO,)) for dtype in dtypes)
    indices = tuple(range(len(tensors)))
    return Flatbuffer((Operator("CONCATENATION", 1, indices, (0,)),), tensors, indices, (0,))


def integers(values: Any) -> np.ndarray:
    """Real values as the device rounds them."""
    return np.clip(np.rint(np.asarray(values) / SCALE) + ZERO, -128, 127).astype(np.int8)


def test_a_column_that_is_wider_than_the_other_is_a_sign() -> None:
    signs = InputSigns(model("int8"), ["features"])
    for batch in ([[0.52, 25.0], [1.03, 3.0]], [[0.99, 20.0]]):
        values = np.array(batch)
        signs.add({"features": integers(values)}, {"features": values})
    sign = signs.by_tensor()[0]
    assert (sign.name, sign.range, sign.values) == ("features", (0.0, 25.5), (0.52, 25.0))
    assert sign.channel_percent == pytest.approx(4.12)
    assert (sign.clipped_percent, sign.clipped_db) == (0, None)
    assert sign.bulk_percent == 96.09  # 0.5 .. 25 of 0 .. 25.5: 246 of 256 values.


def test_values_beyond_the_grid_are_a_sign() -> None:
    signs, values = InputSigns(model("int8"), ["features"]), np.array([[25.5, 255.0], [0.0, 0.0]])
    signs.add({"features": integers(values)}, {"features": values})
    sign = signs.by_tensor()[0]
    assert sign.clipped_percent == 25
    assert sign.clipped_db == sign.db == 1.0  # 255**2 + 25.5**2 beside the 229.5**2 that is cut off.


def test_inputs_have_their_own_signs_and_exact_ones_have_none() -> None:
    signs = InputSigns(model("int8", "int8"), ["bytes", "features"])
    exact, rounded = np.array([[0.0, 1.0]]), np.array([[0.04, 1.0]])
    signs.add({"bytes": integers(exact), "features": integers(rounded)}, {"bytes": exact, "features": rounded})
    assert {index: sign.name for index, sign in signs.by_tensor().items()} == {1: "features"}
