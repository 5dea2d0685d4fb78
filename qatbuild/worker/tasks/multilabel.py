"""Multilabel: any number of classes an example, by sigmoid; with one column a binary classification."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.outputs import Output
from qatbuild.worker.tasks import columns, ends
from qatbuild.worker.tasks.auc import Scores
from qatbuild.worker.tasks.columns import Column, DatasetFacts
from qatbuild.worker.tasks.protocol import Arrays, Meter, Metric, Task, Tensors

_BINARY = 2
_EVEN = 0.5
_METRICS = (Metric("auc"), Metric("accuracy", percent=True))


def task(name: str, output: Output, dataset: DatasetFacts, inputs: Collection[str], *, labelled: bool) -> Multilabel:
    """Makes the task. Its target is 0 or 1, [n, k], or [n] for one column."""
    if not labelled:
        return Multilabel(name, (), (), {name: None})
    target, column = columns.target(name, output, dataset, inputs)
    if len(column.shape) > 1 or (not column.shape and len(column.class_names) > _BINARY):
        raise columns.unfit(name, output, (target, column), "0 or 1, [n, k], or [n] for one column", _hint(column))
    return Multilabel(name, _METRICS, (target,), {name: column.shape[0] if column.shape else 1})


def _hint(column: Column) -> str:
    if column.shape:
        return "Save labels.reshape(len(labels), -1)."
    return 'One of several classes an example is the task "classification".'


class Multilabel(Task):
    """The task of a multilabel classification."""

    def check(self, tensors: Tensors) -> None:
        """See Task. The tensor is [n, k]."""
        ends.check(self.name, "multilabel", self.name, tensors, [[self.sizes[self.name]]])

    def check_values(self, targets: Arrays, first: int = 0) -> None:
        """See Task."""
        for target in self.targets:
            values = targets[target]
            bad = (values != 0) & (values != 1)
            if bad.any():
                hint = "Save (labels > 0.5), if they are probabilities."
                raise columns.out_of_range(self.name, target, values, bad, "0 or 1", first=first, hint=hint)

    def loss(self, tensors: Tensors, targets: Tensors, inputs: Tensors) -> tf.Tensor:
        """See Task. Sigmoid cross entropy, the mean over examples and columns."""
        del inputs
        (target,) = self.targets
        labels = tf.reshape(tf.cast(targets[target], tf.float32), tf.shape(tensors[self.name]))
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels, tensors[self.name])
        return tf.reduce_mean(entropy, name="sigmoid_cross_entropy")

    def results(self, tensors: Tensors) -> dict[str, tf.Tensor]:
        """See Task."""
        return {self.name: ends.sigmoid(tensors[self.name])}

    def answers(self, results: Arrays) -> NDArray[Any]:
        """See Task. Whether each label is there, [n, k]."""
        likely: NDArray[Any] = results[self.name] > _EVEN
        return likely

    @property
    def activations(self) -> Mapping[str, str]:
        """See Task."""
        return {self.name: "sigmoid"}

    def meter(self) -> Meter:
        """See Task."""
        return _Labels(self.name, self.targets)


class _Labels(Meter):
    """Measures auc, and which part of all labels is right where a probability above 0.5 is a 1."""

    def __init__(self, name: str, targets: tuple[str, ...]) -> None:
        self._name, self._targets = name, targets
        self._scores = Scores()
        self._right = self._count = 0

    def add(self, results: Arrays, targets: Arrays) -> None:
        for target in self._targets:
            probabilities = results[self._name].reshape(len(results[self._name]), -1)
            labels = targets[target].reshape(probabilities.shape).astype(np.uint8)
            self._scores.add(probabilities, labels)
            self._right += int(((probabilities > _EVEN) == labels).sum())
            self._count += labels.size

    def measured(self) -> dict[str, float | str]:
        if not self._targets:
            return {}
        accuracy = 100 * self._right / self._count if self._count else "no example was measured."
        return {"auc": self._scores.value(), "accuracy": accuracy}
