"""Signs of batch norms whose moving averages do not fit the data that the network sees.

    mean shift       |mean of x - moving mean| / sqrt(larger variance)
    variance ratio   larger by smaller of variance of x and moving variance

of each channel of the input x of a batch norm in the float graph; a layer's sign is the median over its channels.
Settled statistics have a shift near 0 and a ratio near 1. A moving average that began at 0 (mean) and 1 (variance) and
has seen n steps with decay d still holds d^n of that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.layer_signs import BatchNormSign
from qatbuild.worker.tflite.batch_norms import batch_norms
from qatbuild.worker.tflite.signs import rounded

_SMALLEST_VARIANCE = 1e-12


class BatchNormSigns:
    """The batch norms of a float graph, and the sums of their inputs over batches."""

    def __init__(self, graph: tf.Graph) -> None:
        """Finds the batch norms of a float graph."""
        self._norms = batch_norms(graph)
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._moving: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}

    @property
    def tensors(self) -> list[str]:
        """The names of the tensors that `add` takes."""
        return [tensor.name for norm in self._norms for tensor in (norm.x, norm.mean, norm.variance)]

    def add(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Takes the values of `tensors` for a batch in."""
        for norm in self._norms:
            x = np.asarray(values[norm.x.name], np.float64)
            x = x.reshape(-1, x.shape[-1])
            sums = np.stack([np.full(x.shape[1], len(x)), x.sum(0), np.square(x).sum(0)])
            self._sums[norm.x.name] = self._sums.get(norm.x.name, 0) + sums
            self._moving[norm.x.name] = (values[norm.mean.name], values[norm.variance.name])

    def by_tensor(self, names: Collection[str]) -> dict[str, BatchNormSign]:
        """Returns the signs by the first of these tensors that is computed of the batch norm."""
        signs = {}
        for norm in self._norms:
            tensor = next((each for each in _downstream(norm.result) if each in names), None)
            if tensor is not None and norm.x.name in self._sums:
                signs[tensor] = self._sign(norm.x.name)
        return signs

    def _sign(self, x: str) -> BatchNormSign:
        count, total, squares = self._sums[x]
        mean = total / count
        variance = np.maximum(squares / count - np.square(mean), _SMALLEST_VARIANCE)
        moving_mean, moving_variance = (np.asarray(each, np.float64).ravel() for each in self._moving[x])
        moving_variance = np.maximum(moving_variance, _SMALLEST_VARIANCE)
        larger, smaller = np.maximum(variance, moving_variance), np.minimum(variance, moving_variance)
        shift = np.abs(mean - moving_mean) / np.sqrt(larger)
        return BatchNormSign(rounded(float(np.median(shift))), rounded(float(np.median(larger / smaller))))


def _downstream(tensor: tf.Tensor) -> Iterator[str]:
    """Yields a tensor's name and those of all that are computed of it, nearest first."""
    waiting, seen = [tensor], {tensor.name}
    while waiting:
        each = waiting.pop(0)
        yield each.name
        following = [output for reader in each.consumers() for output in reader.outputs if output.name not in seen]
        seen.update(output.name for output in following)
        waiting += following
