"""The latency of one inference, by model and kernel set.

Whether 8 bits are faster depends on the processor and on the kernels: on x86 XNNPACK computes uint8 about as fast as
float, and int8 several times as fast. So every figure comes with its kernels, its threads and that of the float model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.tflite.interpret import Model

KERNELS = ("xnnpack", "builtin")
"""The default of LiteRT first, then its optimized kernels without XNNPACK."""

THREADS = 1


class Timed(NamedTuple):
    """A model to time: the name of its number type, its file, its inputs and outputs, and one example by input."""

    numbers: str
    path: Path
    ends: tuple[list[str], list[str]]
    example: Mapping[str, NDArray[Any]]


def measure(models: Iterable[Timed], runs: int) -> list[dict[str, Any]]:
    """Returns a row per model and kernel set: `numbers`, `kernels`, `threads`, and `median`, `p95` of `runs`, in ms."""
    return [
        {"numbers": each.numbers, **_row(Model(each.path, each.ends, threads=THREADS, kernels=kernels), each, runs)}
        for each in models
        for kernels in KERNELS
    ]


def _row(model: Model, timed: Timed, runs: int) -> dict[str, Any]:
    taken_ms = model.latencies_ms(timed.example, runs)
    median, p95 = (round(float(np.percentile(taken_ms, percent)), 4) for percent in (50, 95))
    return {"kernels": model.kernels, "threads": model.threads, "median": median, "p95": p95}
