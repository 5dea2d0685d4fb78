"""Call: loss and metrics are functions of the user."""

from __future__ import annotations

import numbers
import tempfile
import weakref
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.outputs import Output
from qatbuild.worker.tasks import columns, ends
from qatbuild.worker.tasks.columns import DatasetFacts
from qatbuild.worker.tasks.own_functions import OwnFunction
from qatbuild.worker.tasks.protocol import Arrays, Meter, Metric, Task, Tensors


def task(name: str, output: Output, dataset: DatasetFacts, inputs: Collection[str], *, labelled: bool) -> Call:
    """Makes the task. Its target is any array; loss and metrics are called as function(predictions, targets).

    The loss gets tensors and returns a scalar; a metric gets arrays of all examples and returns a number.
    """
    loss = OwnFunction.load(f"outputs.{name}.loss", output.loss or "") if labelled else None
    targets = (columns.target(name, output, dataset, inputs)[0],) if labelled else ()
    metrics = [
        (_metric(key, declared.better), OwnFunction.load(f"outputs.{name}.metrics.{key}", declared.call))
        for key, declared in (output.metrics.items() if labelled else ())
    ]
    return Call(name, targets, loss, metrics)


def _metric(name: str, better: str) -> Metric:
    return Metric(name, "lower" if better == "lower" else "higher")


class Call(Task):
    """The task of an output whose loss and metrics are the user's."""

    def __init__(
        self,
        name: str,
        targets: tuple[str, ...],
        loss: OwnFunction | None,
        metrics: Sequence[tuple[Metric, OwnFunction]],
    ) -> None:
        """Makes the task."""
        super().__init__(name, tuple(metric for metric, _ in metrics), targets, {name: None})
        self._loss = loss
        self._functions = {metric.name: function for metric, function in metrics}

    def check(self, tensors: Tensors) -> None:
        """See Task. Any tensor will do."""
        rank = tensors[self.name].shape.rank if self.name in tensors else 1
        ends.check(self.name, "call", self.name, tensors, [[None] * ((rank or 1) - 1)])

    def check_values(self, targets: Arrays, first: int = 0) -> None:
        """See Task."""
        columns.check_finite(self.name, self.targets, targets, first=first)

    def loss(self, tensors: Tensors, targets: Tensors, inputs: Tensors) -> tf.Tensor:
        """See Task. StageError for a function that fails, or whose value is no scalar, or has no gradient."""
        del inputs
        if self._loss is None:
            raise StageError("A network without labels has no loss.", [("output", self.name)])
        (target,) = self.targets
        value = self._loss(tensors[self.name], targets[target])
        if not tf.is_tensor(value) or value.shape.rank != 0 or not value.dtype.is_floating:
            raise self._loss.refused("A loss is no scalar of real values.", _shown(value), _MEAN_HINT)
        if tf.gradients(value, tensors[self.name])[0] is None:
            raise self._loss.refused(
                "A loss has no gradient with respect to the predictions.", _shown(value), _SMOOTH_HINT
            )
        return tf.cast(value, tf.float32)

    def results(self, tensors: Tensors) -> dict[str, tf.Tensor]:
        """See Task."""
        return {self.name: ends.identity(tensors[self.name], self.name)}

    @property
    def has_own_metrics(self) -> bool:
        """See Task."""
        return bool(self._functions)

    def meter(self) -> Meter:
        """See Task."""
        return _Own(self.name, self.targets, self._functions)


_MEAN_HINT = "Return the mean over the batch: tf.reduce_mean(...) of a float tensor."
_SMOOTH_HINT = "Compute it of the predictions themselves, without argmax, rounding or a cast to whole numbers."


def _shown(value: Any) -> str:
    return f"{value.dtype.name} {value.shape.as_list()}" if _has_shape(value) else f"{type(value).__name__} {value!r}"


def _has_shape(value: Any) -> bool:
    return tf.is_tensor(value) and value.shape.rank is not None


class _Own(Meter):
    """Calls the user's functions with the arrays of all examples, which wait in files until then."""

    def __init__(self, name: str, targets: tuple[str, ...], functions: dict[str, OwnFunction]) -> None:
        self._name, self._targets, self._functions = name, targets, functions
        self._predictions, self._right = _Rows(), _Rows()

    def add(self, results: Arrays, targets: Arrays) -> None:
        for target in self._targets:
            self._predictions.add(results[self._name])
            self._right.add(targets[target])

    def measured(self) -> dict[str, float | str]:
        if not self._predictions.count:
            return dict.fromkeys(self._functions, "no example was measured.")
        return {name: self._value(function) for name, function in self._functions.items()}

    def _value(self, function: OwnFunction) -> float:
        value = function(self._predictions.array(), self._right.array())
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        if not isinstance(value, numbers.Real):
            got = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
            hint = "Return one number, such as float(numpy.mean(...))."
            raise function.refused("A metric is no number.", got, hint)
        return float(value)


class _Rows:
    """Rows of one array in a temporary file: the memory does not grow with their number."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  It lives as long as this object.
        weakref.finalize(self, self._file.close)
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        self._shape: tuple[int, ...] = ()
        self.count = 0

    def add(self, rows: NDArray[Any]) -> None:
        """Appends rows [n, ...]."""
        self._dtype, self._shape = rows.dtype, rows.shape[1:]
        self._file.write(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
        self.count += len(rows)

    def array(self) -> NDArray[Any]:
        """Returns all rows, mapped from the file; what is written into them stays in memory."""
        self._file.flush()
        return np.memmap(self._file, self._dtype, "c", shape=(self.count, *self._shape))
