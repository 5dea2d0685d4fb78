"""Runs a .tflite file with LiteRT, in batches: integers in, integers out."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
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
"""Examples per inference: enough to keep the threads busy, few enough that activations stay in the cache."""

_WARM_UP_RUNS = 5


Batch = Mapping[str, NDArray[Any]]
"""Values [n, ...] by the name of an input or output."""


class Model:
    """A loaded .tflite; its inputs and outputs have names in the file's order.

    ConversionError with LiteRT's own message if LiteRT cannot load the file.
    """

    def __init__(
        self,
        path: Path,
        ends: tuple[Collection[str], Collection[str]] | None = None,
        *,
        threads: int = 1,
        kernels: str = "xnnpack",
        keep: bool = False,
        content: bytes | None = None,
    ) -> None:
        """Loads the file with one of `KERNELS`; `ends` are the names of inputs and outputs, in the file's order.

        Without `ends` they are those of the file's tensors. `keep` keeps all tensors, for `tensors`. `content` stands
        in for the file.
        """
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
        sides = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if ends is None or content is not None:  # A file that was cut off ends elsewhere, in one output.
            ends = (ends or ([each["name"] for each in sides[0]],))[0], [each["name"] for each in sides[1]]
        self._inputs, self._outputs = (dict(zip(*side, strict=True)) for side in zip(ends, sides, strict=True))
        self._batch = min(int(each["shape"][0]) for each in self._inputs.values())
        self._batches = all(int(each["shape_signature"][0]) == -1 for each in self._inputs.values())

    def run(self, integers: Batch, batch: int = BATCH, done: Callable[[int], object] | None = None) -> dict[str, Any]:
        """Returns the quantized outputs [n, ...] by name for inputs [n, ...] of the model's own types, by name.

        The outputs do not depend on the batch size. A model with a fixed batch of 1 is run example by example. `done`
        is called with the number of examples just finished.
        """
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in self._outputs}
        for start, taken in self._parts(_count(integers), batch):
            self._infer({name: rows[start : start + taken] for name, rows in integers.items()})
            for name, end in self._outputs.items():
                parts[name].append(np.array(self._interpreter.get_tensor(end["index"])))
            if done is not None:
                done(taken)
        return {
            name: np.concatenate(rows) if rows else np.empty((0, *end["shape"][1:]), end["dtype"])
            for (name, end), rows in zip(self._outputs.items(), parts.values(), strict=True)
        }

    def tensors(self, integers: Batch, indices: Iterable[int], batch: int = BATCH) -> dict[int, NDArray[Any]]:
        """Returns the values [n, ...] of the tensors at `indices` of the file, for inputs as `run` takes them.

        The model must have been loaded with `keep`, and the tensors' first dimension must be the batch.
        """
        parts: dict[int, list[NDArray[Any]]] = {index: [] for index in indices}
        for start, taken in self._parts(_count(integers), batch):
            self._infer({name: rows[start : start + taken] for name, rows in integers.items()})
            for index, batches in parts.items():
                batches.append(np.array(self._interpreter.get_tensor(index)))
        return {index: np.concatenate(batches) for index, batches in parts.items()}

    def latencies_ms(self, example: Batch, runs: int) -> list[float]:
        """Returns the time of each of `runs` inferences of one example (by input, without a batch), after a warm-up."""
        self._resize(1)
        one = {name: values[np.newaxis] for name, values in example.items()}
        for _ in range(_WARM_UP_RUNS):
            self._infer(one)
        taken_ms = []
        for _ in range(runs):
            start = time.perf_counter()
            self._infer(one)
            taken_ms.append((time.perf_counter() - start) * 1000)
        return taken_ms

    def _parts(self, count: int, batch: int) -> Iterator[tuple[int, int]]:
        """Yields (start, number) of the examples of each inference."""
        start = 0
        while start < count:
            taken = self._resize(min(batch, count - start))
            yield start, taken
            start += taken

    def _infer(self, integers: Batch) -> None:
        for name, end in self._inputs.items():
            self._interpreter.set_tensor(end["index"], np.ascontiguousarray(integers[name]))
        self._interpreter.invoke()

    def _resize(self, batch: int) -> int:
        """Sets the batch size and returns it; the model's own if it takes no other."""
        if batch != self._batch and self._batches:
            try:
                self._allocate(batch)
            except (ValueError, RuntimeError):  # an operation, such as a reshape, has a fixed batch of 1
                self._batches = False
                self._allocate(1)
        return self._batch

    def _allocate(self, batch: int) -> None:
        for end in self._inputs.values():
            self._interpreter.resize_tensor_input(end["index"], [batch, *end["shape"][1:]])
        self._interpreter.allocate_tensors()
        self._batch = batch


def _count(integers: Batch) -> int:
    return min(map(len, integers.values()))
