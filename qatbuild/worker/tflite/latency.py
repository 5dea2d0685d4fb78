"""How long one inference takes, by model and kernel set.

Whether 8 bits are faster depends on the processor and on the kernels: on x86 XNNPACK computes uint8 about as fast as
float, and int8 several times as fast. A figure without its kernels, its threads and a float one beside it says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.tflite.interpret import Model

KERNELS = ("xnnpack", "builtin")
"""What a user gets by default first, then LiteRT's own optimized kernels."""

THREADS = 1


def measure(models: Iterable[tuple[str, Path, NDArray[Any]]], runs: int) -> list[dict[str, Any]]:
    """A row for each model and kernel set: `numbers`, `kernels`, `threads`, and `median`, `p95` of `runs`, in ms.

    A model is given as the name of its numbers, its file, and one image [height, width, channels] of bytes, or of
    float32 for a model that takes floats.
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
