"""Regression: real values of any shape."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import tensorflow as tf

from qatbuild.exchange.outputs import Output
from qatbuild.worker.tasks import columns, ends, errors
from qatbuild.worker.tasks.columns import DatasetFacts
from qatbuild.worker.tasks.protocol import Arrays, Meter, Metric, Task, Tensors

_METRICS = (Metric("mae", "lower"), Metric("rmse", "lower"), Metric("r2"))


def task(name: str, output: Output, dataset: DatasetFacts, inputs: Collection[str], *, labelled: bool) -> Regression:
    """Makes the task. Its target is numbers [n, ...] of any shape."""
    if not labelled:
        return Regression(name, output, (), None)
    target, column = columns.target(name, output, dataset, inputs)
    return Regression(name, output, (target,), column.shape)


class Regression(Task):
    """The task of a regression; `shape` is that of an example's target, None if the network decides."""

    def __init__(self, name: str, output: Output, targets: tuple[str, ...], shape: tuple[int, ...] | None) -> None:
        """Makes the task."""
        size = None if shape is None else shape[-1] if shape else 1
        super().__init__(name, _METRICS if targets else (), targets, {name: size})
        self._loss, self._shape = output.loss or "mse", shape

    def check(self, tensors: Tensors) -> None:
        """See Task. The tensor has the target's shape; for single numbers it is [n, 1] or [n]."""
        if self._shape is not None:
            shapes: Sequence[ends.Shape] = [list(self._shape)] if self._shape else [[1], []]
            ends.check(self.name, "regression", self.name, tensors, shapes)

    def check_values(self, targets: Arrays, first: int = 0) -> None:
        """See Task."""
        columns.check_finite(self.name, self.targets, targets, first=first)

    def loss(self, tensors: Tensors, targets: Tensors, inputs: Tensors) -> tf.Tensor:
        """See Task."""
        del inputs
        (target,) = self.targets
        values = tensors[self.name]
        return errors.loss(self._loss, values, tf.reshape(tf.cast(targets[target], tf.float32), tf.shape(values)))

    def results(self, tensors: Tensors) -> dict[str, tf.Tensor]:
        """See Task."""
        return {self.name: ends.identity(tensors[self.name], self.name)}

    def meter(self) -> Meter:
        """See Task."""
        return _Errors(self.name, self.targets)


class _Errors(Meter):
    def __init__(self, name: str, targets: tuple[str, ...]) -> None:
        self._name, self._targets = name, targets
        self._errors = errors.Errors()

    def add(self, results: Arrays, targets: Arrays) -> None:
        for target in self._targets:
            right = targets[target].reshape(len(targets[target]), -1)
            self._errors.add(results[self._name].reshape(right.shape), right)

    def measured(self) -> dict[str, float | str]:
        if not self._targets:
            return {}
        return {"mae": self._errors.mae(), "rmse": self._errors.rmse(), "r2": self._errors.r2()}
