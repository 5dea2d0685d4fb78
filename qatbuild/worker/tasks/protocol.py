"""What a task is: loss, metrics, and how an output of a network is read."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import tensorflow as tf
from numpy.typing import NDArray

Tensors = Mapping[str, tf.Tensor]
Arrays = Mapping[str, NDArray[Any]]


class Metric(NamedTuple):
    """A figure that judges an output; with `percent` its values are 0..100."""

    name: str
    better: Literal["higher", "lower"] = "higher"
    percent: bool = False


class Meter(abc.ABC):
    """Measures the metrics of a task over any number of batches; its memory does not grow with the examples.

    Where a metric needs all scores (auc, average precision), it keeps only these.
    """

    @abc.abstractmethod
    def add(self, results: Arrays, targets: Arrays) -> None:
        """Adds a batch: results by tensor name, targets by column, as the dataset has them."""

    @abc.abstractmethod
    def measured(self) -> Mapping[str, float | str]:
        """Returns each metric by name: a number, or a sentence that says why these examples have none."""

    def values(self) -> dict[str, float]:
        """Returns the metrics that the examples have, by name; all are finite."""
        measured = self.measured().items()
        return {name: float(value) for name, value in measured if not isinstance(value, str) and math.isfinite(value)}

    def notes(self) -> tuple[str, ...]:
        """Returns a sentence for each metric that is missing in `values`."""
        return tuple(
            f"{name} is left out: {value if isinstance(value, str) else 'it is no finite number.'}"
            for name, value in self.measured().items()
            if isinstance(value, str) or not math.isfinite(value)
        )


@dataclass
class Task(abc.ABC):
    """The task of one output.

    name      the output's
    metrics   the first one gates, and chooses the best checkpoint; a meter may leave one out, with a note
    targets   columns of the dataset that loss and meter read; empty without labels
    sizes     wanted last dimension of each of the network's tensors, by tensor name; None: the network's choice
    notes     sentences for the report about settings that are valid and probably not meant
    """

    name: str
    metrics: tuple[Metric, ...]
    targets: tuple[str, ...]
    sizes: Mapping[str, int | None]
    notes: tuple[str, ...] = ()

    @abc.abstractmethod
    def check(self, tensors: Tensors) -> None:
        """Compares the network's tensors, by name, with what the task needs. StageError for shapes that do not fit."""

    @abc.abstractmethod
    def check_values(self, targets: Arrays, first: int = 0) -> None:
        """Checks a batch of targets by column; `first` is the number of its first example.

        Called after `check`, for all examples before a training. A target that is an input, too, may be left out.
        DatasetError for a value that cannot be learnt.
        """

    @abc.abstractmethod
    def loss(self, tensors: Tensors, targets: Tensors, inputs: Tensors) -> tf.Tensor:
        """Adds the loss to the graph: float32 scalar, the mean over the batch.

        `tensors` are the network's, fake-quantized or not; `targets` placeholders [batch, *shape] by column; `inputs`
        the real values that the network reads, by input.
        """

    @abc.abstractmethod
    def results(self, tensors: Tensors) -> dict[str, tf.Tensor]:
        """Adds the operations that make what the model returns, by tensor name.

        Each result is an operation of its own that reads the network's tensor: a rewrite of the graph re-wires
        consumers, so that `result.op.inputs[0]` is the fake-quantized tensor afterwards.
        """

    def answers(self, results: Arrays) -> NDArray[Any] | None:
        """Returns what the model answers, from results by tensor name: classes of any shape; None for real values.

        Of the answers of two models one can say how many are the same.
        """
        del results
        return None

    @property
    def activations(self) -> Mapping[str, str]:
        """Returns what `results` computes, by tensor name, "softmax" or "sigmoid": the network need not."""
        return {}

    @property
    def taught(self) -> tuple[str, ...]:
        """Returns the targets that the network learns to answer with, not only to be measured by."""
        return self.targets

    @property
    def moving_targets(self) -> Mapping[str, int] | None:
        """Returns the targets that lie on an image and move with it, with the value of pixels that a shift uncovers.

        None: the targets cannot move, and the images must not.
        """
        return {}

    @property
    def has_own_metrics(self) -> bool:
        """Returns whether the metrics are functions of the user, which may fail."""
        return False

    @abc.abstractmethod
    def meter(self) -> Meter:
        """Returns a meter without examples."""
