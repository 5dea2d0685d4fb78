"""How far LiteRT agrees with itself: one file on two of its sets of kernels, and the operators in it.

    python -m tests.benchmarks.litert_kernels model.tflite images.npz

prints JSON: `kernels`, the agreement of XNNPACK with the optimized kernels (ruy), of the first output of a model with
one input of bytes, on the array `test_images`; and `operators`, how often each occurs.
"""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.tflite import inspect
from qatbuild.worker.tflite.interpret import Model

_INT8_OFFSET = 128


def main(arguments: list[str]) -> int:
    """Prints the figures."""
    path, images = Path(arguments[0]), np.load(arguments[1])["test_images"]
    file = inspect.read(path)
    if file.tensors[file.inputs[0]].dtype == "int8":
        images = (images.astype(np.int16) - _INT8_OFFSET).astype(np.int8)
    one, other = (_outputs(path, kernels, images) for kernels in ("xnnpack", "builtin"))
    figures = {
        "kernels": {
            "top1_percent": round(100 * float(np.mean(one.argmax(1) == other.argmax(1))), 4),
            "max_lsb": int(np.max(np.abs(one - other))),
            "rmse_lsb": round(float(np.sqrt(np.mean((one - other) ** 2))), 2),
        },
        "operators": dict(collections.Counter(sorted(each.name for each in file.operators))),
    }
    sys.stdout.write(json.dumps(figures))
    return 0


def _outputs(path: Path, kernels: str, images: NDArray[np.integer]) -> NDArray[np.int64]:
    model = Model(path, (["images"], ["labels"]), kernels=kernels)
    outputs: NDArray[np.int64] = model.run({"images": images})["labels"].astype(np.int64)
    return outputs.reshape(len(images), -1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
