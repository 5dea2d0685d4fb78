"""Reconstruction: the network returns its own input, as autoencoders do; a large error is an anomaly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.outputs import Output
from qatbuild.exchange.scaling import InputScaling
from qatbuild.worker.inputs import NetworkInput
from qatbuild.worker.tasks import columns, ends, errors
from qatbuild.worker.tasks.auc import Scores
from qatbuild.worker.tasks.columns import Column, DatasetFacts
from qatbuild.worker.tasks.protocol import Arrays, Meter, Metric, Task, Tensors

_LABELS = "labels"
_BINARY = 2
_AUC, _RMSE = Metric("auc"), Metric("rmse", "lower")


def task(
    name: str, output: Output, dataset: DatasetFacts, inputs: Mapping[str, InputScaling], *, labelled: bool
) -> Reconstruction:
    """Makes the task. Its target is an input; labels 0 (normal) or 1 (anomalous), int32 [n], are used if there are any.

    They are the array `labels`, or one of the output's name. Labels of more than two classes are something else.
    """
    source = _input(name, output, inputs)
    column = _column(name, source, output, dataset)
    labels = _labels(name, dataset) if labelled else None
    return Reconstruction(name, output, (source, inputs[source]), (column, dataset.columns[column]), labels)


def _input(name: str, output: Output, inputs: Mapping[str, InputScaling]) -> str:
    wanted = output.target or (next(iter(inputs)) if len(inputs) == 1 else name)
    if wanted in inputs:
        return wanted
    facts = [(f"outputs.{name}.task", output.task), ("wanted input", wanted), ("there are", ", ".join(inputs))]
    hint = f'Name the input that is reconstructed as "target" of outputs.{name}.'
    raise StageError("The input that an output reconstructs does not exist.", facts, hint)


def _column(name: str, source: str, output: Output, dataset: DatasetFacts) -> str:
    """Returns the column that the input takes: the one of its name, or the only one besides the labels."""
    if source in dataset.columns:
        return source
    others = [column for column in dataset.columns if column not in {name, _LABELS}]
    if len(others) == 1:
        return others[0]
    raise columns.missing(name, output, source, dataset)


def _labels(name: str, dataset: DatasetFacts) -> str | None:
    for label in (_LABELS, name):
        column = dataset.columns.get(label)
        if column and _are_labels(column):
            return label
    return None


def _are_labels(column: Column) -> bool:
    return column.dtype in columns.INTEGERS and not column.shape and len(column.class_names) <= _BINARY


class Reconstruction(Task):
    """The task of a reconstruction.

    `source` is an input and its scaling, `target` the array of the dataset that it takes, `labels` that of 0 and 1.
    """

    def __init__(
        self,
        name: str,
        output: Output,
        source: tuple[str, InputScaling],
        target: tuple[str, Column],
        labels: str | None,
    ) -> None:
        """Makes the task."""
        column, (_, shape, *_) = target
        metrics = (_AUC, _RMSE) if labels else (_RMSE,)
        super().__init__(name, metrics, (column, labels) if labels else (column,), {name: shape[-1] if shape else 1})
        self._loss = output.loss or "mse"
        self._source, self._scaling = source
        self._column, self._shape, self._labels = column, shape, labels

    def check(self, tensors: Tensors) -> None:
        """See Task. The tensor has the input's shape."""
        ends.check(self.name, "reconstruction", self.name, tensors, [list(self._shape)])

    def check_values(self, targets: Arrays, first: int = 0) -> None:
        """See Task."""
        if self._labels and self._labels in targets:
            values = targets[self._labels]
            bad = (values != 0) & (values != 1)
            if bad.any():
                wanted = "0 (normal) or 1 (anomalous)"
                raise columns.out_of_range(self.name, self._labels, values, bad, wanted, first=first)

    def loss(self, tensors: Tensors, targets: Tensors, inputs: Tensors) -> tf.Tensor:
        """See Task. The error of the real values that the network reads."""
        del targets
        return errors.loss(self._loss, tensors[self.name], inputs[self._source])

    @property
    def taught(self) -> tuple[str, ...]:
        """See Task. Normal examples are enough: the labels say what the error of the others is to tell."""
        return (self._column,)

    def results(self, tensors: Tensors) -> dict[str, tf.Tensor]:
        """See Task."""
        return {self.name: ends.identity(tensors[self.name], self.name)}

    def meter(self) -> Meter:
        """See Task."""
        return _Anomalies(self.name, NetworkInput(self._column, self._shape, self._scaling), self._labels)


class _Anomalies(Meter):
    """Measures the error, and how well that of an example, its mean square, tells the anomalous from the normal."""

    def __init__(self, name: str, source: NetworkInput, labels: str | None) -> None:
        self._name, self._source, self._labels = name, source, labels
        self._errors, self._scores = errors.Errors(), Scores()

    def add(self, results: Arrays, targets: Arrays) -> None:
        real = self._source.real(self._source.raw(targets[self._source.column]))
        right = _flat(self._source.by_channel(real))
        values = results[self._name].reshape(right.shape)
        self._errors.add(values, right)
        if self._labels and self._labels in targets:
            scores = np.square(values.astype(np.float64) - right).mean(axis=1)
            self._scores.add(scores[:, None], targets[self._labels].reshape(-1, 1))

    def measured(self) -> dict[str, float | str]:
        auc = {"auc": self._scores.value()} if self._labels else {}
        return {**auc, "rmse": self._errors.rmse()}


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1)
