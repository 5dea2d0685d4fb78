"""Models of one input of bytes and one output: their wanted ends, and a run on images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.tflite.ends import End, Ends
from qatbuild.worker.tflite.interpret import Model


def ends(output: str, scheme: str = "uint8", zero_point: int = 121, std_dev: float = 64.0) -> Ends:
    """The placeholder `input` as bytes with this scaling, and the softmax `output` in steps of 1/256."""
    dtype, shift = ("uint8", 0) if scheme == "uint8" else ("int8", 128)
    softmax = End(output, dtype, 256.0, -shift)
    return Ends({"input": End("input", dtype, std_dev, zero_point - shift)}, {"output": softmax})


def run(model: Model, images: NDArray[Any], **options: Any) -> NDArray[Any]:
    """The output for images of the model's own type."""
    (codes,) = model.run({"input": images}, **options).values()
    result: NDArray[Any] = codes
    return result


def int8(images: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The same bytes for an int8 model: 128 less."""
    return (images.astype(np.int16) - 128).astype(np.int8)
