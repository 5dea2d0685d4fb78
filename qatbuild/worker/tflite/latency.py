"""The latency of one inference, by model and kernel set.

Whether 8 bits are faster depends on the processor and on the kernels: on x86 XNNPACK computes uint8 about as fast as
float, and int8 several times as fast. So every figure comes with its kernels, its threads and that of the float model.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.tflite.interpret import Model

KERNELS = ("xnnpack", "builtin")
"""The default of LiteRT first, then its optimized kernels without XNNPACK."""

THREADS = 1


def measure(models: Iterable[tuple[str, Path, NDArray[Any]]], runs: int) -> list[dict[str, Any]]:
    """Return a row per model and kernel set: `numbers`, `kernels`, `threads`, and `median`, `p95` of `runs`, in ms.

    A model is (name of its number type, its file, one image [height, width, channels] of bytes, or float32 for a float
    model).
    """
    return [
        {"numbers": numbers, **_row(Model(path, THREADS, kernels), image, runs)}
        for numbers, path, image in models
        for kernels in KERNELS
    ]


def _row(model: Model, image: NDArray[Any], runs: int) -> dict[str, Any]:
    taken_ms = model.latencies_ms(image, runs)
    median, p95 = (round(float(np.percentile(taken_ms, percent)), 4) for percent in (50, 95))
    return {"kernels": model.kernels, "threads": model.threads, "median": median, "p95": p95}
