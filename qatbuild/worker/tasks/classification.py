"""Classification: one class an example, by softmax."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.outputs import Output
from qatbuild.worker.tasks import columns, ends
from qatbuild.worker.tasks.columns import Column, DatasetFacts
from qatbuild.worker.tasks.protocol import Arrays, Meter, Metric, Task, Tensors

_METRICS: tuple[Metric, ...] = (Metric("top1", percent=True), Metric("top5", percent=True))
_TOP = 5
_STEPS = 256
"""Steps of a softmax as integers: of more nearly equal classes each has less than one step."""

_TOO_MANY = (
    "outputs.{}: a softmax of {} classes has steps of 1/256 as integers, and cannot tell classes apart that are nearly"
    ' equal; "values": "logits" can.'
)


def task(
    name: str, output: Output, dataset: DatasetFacts, inputs: Collection[str], *, labelled: bool
) -> Classification:
    """Makes the task. Its target is int32 [n], the class of each example, counted from 0."""
    if not labelled:
        return Classification(name, (), (), {name: None}, values=output.values)
    target, column = columns.target(name, output, dataset, inputs)
    if column.dtype not in columns.INTEGERS or column.shape:
        raise columns.unfit(name, output, (target, column), "class numbers, int32 [n]", _hint(column))
    classes = len(column.class_names) or None
    metrics = _METRICS[:1] if classes and classes <= _TOP else _METRICS
    return Classification(name, metrics, (target,), {name: classes}, values=output.values)


def _hint(column: Column) -> str:
    if not column.shape:
        return 'Save whole numbers, labels.astype("int32"); real values are the task "regression".'
    if column.shape == (1,):
        return "Save labels.reshape(-1)."
    return 'Save labels.argmax(axis=1) if the labels are one-hot; several classes an example are "multilabel".'


class Classification(Task):
    """The task of a classification; `values` is "probabilities" or "logits"."""

    def __init__(
        self,
        name: str,
        metrics: tuple[Metric, ...],
        targets: tuple[str, ...],
        sizes: dict[str, int | None],
        values: str | None,
    ) -> None:
        """Makes the task; `sizes` holds the number of classes."""
        super().__init__(name, metrics, targets, sizes)
        self._logits = values == "logits"
        self._note(sizes[name])

    def check(self, tensors: Tensors) -> None:
        """See Task. The tensor is [n, classes]."""
        ends.check(self.name, "classification", self.name, tensors, [[self.sizes[self.name]]])
        classes = tensors[self.name].shape[-1]
        self.sizes = {self.name: classes}
        self._note(classes)

    def _note(self, classes: int | None) -> None:
        if classes and classes > _STEPS and not self._logits:
            self.notes = (_TOO_MANY.format(self.name, classes),)

    def check_values(self, targets: Arrays, first: int = 0) -> None:
        """See Task."""
        for target in self.targets:
            columns.check_classes(self.name, target, targets[target], self.sizes[self.name], first=first)

    def loss(self, tensors: Tensors, targets: Tensors, inputs: Tensors) -> tf.Tensor:
        """See Task. Softmax cross entropy."""
        del inputs
        (target,) = self.targets
        labels = tf.cast(targets[target], tf.int32)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tensors[self.name])
        return tf.reduce_mean(entropy, name="cross_entropy")

    def results(self, tensors: Tensors) -> dict[str, tf.Tensor]:
        """See Task."""
        tensor = tensors[self.name]
        return {self.name: ends.identity(tensor, self.name) if self._logits else ends.softmax(tensor)}

    def answers(self, results: Arrays) -> NDArray[Any]:
        """See Task. The classes [n]; of equal scores the lowest."""
        return np.argmax(results[self.name], axis=-1)

    @property
    def activations(self) -> Mapping[str, str]:
        """See Task."""
        return {self.name: "softmax"}

    def meter(self) -> Meter:
        """See Task."""
        return _Ranks(self.name, self.targets, [metric.name for metric in self.metrics])


class _Ranks(Meter):
    """Counts how often the right class is the first, or among the first five; of equal scores the lower class wins."""

    def __init__(self, name: str, targets: tuple[str, ...], metrics: list[str]) -> None:
        self._name, self._targets, self._metrics = name, targets, metrics
        self._examples = self._first = self._among = 0

    def add(self, results: Arrays, targets: Arrays) -> None:
        for target in self._targets:
            scores, labels = results[self._name], targets[target].astype(np.int64)
            right = np.take_along_axis(scores, labels[:, None], axis=1)
            earlier = np.arange(scores.shape[1]) < labels[:, None]
            ranks = (~(scores <= right) | ((scores == right) & earlier)).sum(axis=1)  # NaN is never the right one.
            self._examples += len(labels)
            self._first += int((ranks == 0).sum())
            self._among += int((ranks < _TOP).sum())

    def measured(self) -> dict[str, float | str]:
        hits = {"top1": self._first, "top5": self._among}
        if not self._examples:
            return dict.fromkeys(self._metrics, "no example was measured.")
        return {name: 100 * hits[name] / self._examples for name in self._metrics}
