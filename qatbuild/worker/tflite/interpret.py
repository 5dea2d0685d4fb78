"""Run a .tflite file with LiteRT, in batches: bytes in, quantized values out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from qatbuild.exchange.errors import ConversionError

KERNELS = {
    "xnnpack": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
"""LiteRT's kernel sets: the default with XNNPACK, the optimized kernels without it, the reference kernels."""

BATCH = 50
"""Images per inference: enough to keep the threads busy, few enough that activations stay in the cache."""

_WARM_UP_RUNS = 5


class Model:
    """A loaded .tflite with one input and one output.

    ConversionError with LiteRT's own message if LiteRT cannot load the file.
    """

    def __init__(
        self,
        path: Path,
        threads: int = 1,
        kernels: str = "xnnpack",
        *,
        keep: bool = False,
        content: bytes | None = None,
    ) -> None:
        """Load the file with one of `KERNELS`; `keep` keeps all tensors, for `tensors`. `content` stands in for it."""
        self.path, self.threads, self.kernels = path, threads, kernels
        try:
            self._interpreter = Interpreter(
                model_path=None if content else str(path),
                model_content=content,
                num_threads=threads,
                experimental_op_resolver_type=KERNELS[kernels],
                experimental_preserve_all_tensors=keep,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as fault:
            facts = [("file", path), ("kernels", kernels), ("LiteRT", " ".join(str(fault).split()))]
            raise ConversionError("LiteRT cannot load the model.", facts) from fault
        (self._input,) = self._interpreter.get_input_details()
        (self._output,) = self._interpreter.get_output_details()
        self._batch = int(self._input["shape"][0])
        self._batches = int(self._input["shape_signature"][0]) == -1

    def run(
        self, images: NDArray[np.uint8], batch: int = BATCH, done: Callable[[int], object] | None = None
    ) -> NDArray[Any]:
        """Return the quantized outputs [n, classes] for bytes [n, height, width, channels], 0..255.

        They have the model's own type (uint8, or int8 with zero point -128) and do not depend on the batch size. A
        model with a fixed batch of 1 is run image by image. `done` is called with the number of images just finished.
        """
        outputs = []
        start = 0
        while start < len(images):
            taken = self._resize(min(batch, len(images) - start))
            outputs.append(self._infer(images[start : start + taken]))
            start += taken
            if done is not None:
                done(taken)
        return np.concatenate(outputs) if outputs else np.empty((0, *self._output["shape"][1:]), self._output["dtype"])

    def tensors(self, images: NDArray[np.uint8], indices: Iterable[int], batch: int = BATCH) -> dict[int, NDArray[Any]]:
        """Return the values [n, ...] of the tensors at `indices` of the file, for bytes [n, height, width, channels].

        The model must have been loaded with `keep`, and the tensors' first dimension must be the batch.
        """
        parts: dict[int, list[NDArray[Any]]] = {index: [] for index in indices}
        start = 0
        while start < len(images):
            taken = self._resize(min(batch, len(images) - start))
            self._infer(images[start : start + taken])
            start += taken
            for index, batches in parts.items():
                batches.append(np.array(self._interpreter.get_tensor(index)))
        return {index: np.concatenate(batches) for index, batches in parts.items()}

    def latencies_ms(self, image: NDArray[Any], runs: int) -> list[float]:
        """Return the time of each of `runs` inferences of one image [height, width, channels], after a warm-up.

        The image is bytes, or float32 for a float model.
        """
        self._resize(1)
        for _ in range(_WARM_UP_RUNS):
            self._infer(image[np.newaxis])
        taken_ms = []
        for _ in range(runs):
            start = time.perf_counter()
            self._infer(image[np.newaxis])
            taken_ms.append((time.perf_counter() - start) * 1000)
        return taken_ms

    def _infer(self, images: NDArray[Any]) -> NDArray[Any]:
        # An int8 model's zero point is 128 lower: the same bytes with the highest bit inverted.
        values = (images ^ 0x80).view(np.int8) if self._input["dtype"] is np.int8 else images
        self._interpreter.set_tensor(self._input["index"], np.ascontiguousarray(values))
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output["index"]))

    def _resize(self, batch: int) -> int:
        """Set the batch size and return it; the model's own if it takes no other."""
        if batch != self._batch and self._batches:
            try:
                self._allocate(batch)
            except (ValueError, RuntimeError):  # an operation, such as a reshape, has a fixed batch of 1
                self._batches = False
                self._allocate(int(self._input["shape"][0]))
        return self._batch

    def _allocate(self, batch: int) -> None:
        self._interpreter.resize_tensor_input(self._input["index"], [batch, *self._input["shape"][1:]])
        self._interpreter.allocate_tensors()
        self._batch = batch
