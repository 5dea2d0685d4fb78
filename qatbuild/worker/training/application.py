"""A network with its inputs and tasks: what a training learns, a conversion converts and an evaluation measures."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.exchange.networks import Network
from qatbuild.exchange.scaling import RealInput
from qatbuild.worker import models
from qatbuild.worker.datasets.examples import Arrays
from qatbuild.worker.inputs import Inputs, NetworkInput, raw_values, real_values
from qatbuild.worker.models import scaling_layers
from qatbuild.worker.tasks import Metric, Task, named
from qatbuild.worker.training.batches import Batch

v1 = tf.compat.v1

INPUT = "input"
"""The name of the operation that holds the real values of a lone input; one of several is INPUT_NAME."""


@dataclass(frozen=True)
class Application:
    """A network, its inputs by name, its tasks by output, and the factors of their losses in the sum."""

    network: Network
    inputs: Inputs
    tasks: Mapping[str, Task]
    loss_weights: Mapping[str, float]

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns of the dataset that the tasks read, without those of inputs."""
        read = {each.column for each in self.inputs.values()}
        return tuple(dict.fromkeys(name for task in self.tasks.values() for name in task.targets if name not in read))

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the dataset that a training reads."""
        return (*dict.fromkeys(each.column for each in self.inputs.values()), *self.targets)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of all tasks; the first one chooses the best checkpoint."""
        return tuple(metric for task in self.tasks.values() for metric in task.metrics)

    @property
    def better(self) -> dict[str, str]:
        """Which figures of each metric are better, "higher" or "lower", by name."""
        return named({name: {each.name: each.better for each in task.metrics} for name, task in self.tasks.items()})

    def batch(self, rows: Arrays) -> Batch:
        """Returns the columns of some training examples as a batch."""
        return Batch(raw_values(self.inputs, rows), {name: rows[name] for name in self.targets})

    def feed(self, rows: Arrays) -> Arrays:
        """Returns the real values for the placeholders of an inference graph, by the name of the tensor."""
        reals = real_values(self.inputs, raw_values(self.inputs, rows))
        return {f"{op_name(name, len(self.inputs))}:0": values for name, values in reals.items()}

    def by_channel(self, reals: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Adds what a scaling by channel does with the graph's inputs; returns what the network reads, by input."""
        return {name: _by_channel(each, reals[name]) for name, each in self.inputs.items()}

    def network_tensors(self, reals: Mapping[str, tf.Tensor], *, training: bool) -> dict[str, tf.Tensor]:
        """Adds the network to the default graph; returns its tensors by name, checked by the tasks.

        `reals` are those of `by_channel`.
        """
        sizes = {name: size for task in self.tasks.values() for name, size in task.sizes.items()}
        ends = {name: kind for task in self.tasks.values() for name, kind in task.activations.items()}
        tensors = models.build(reals, sizes, self.network, training=training, ends=ends)
        for name, each in self.inputs.items():
            if not isinstance(each.scaling, RealInput):
                scaling_layers.check(name, reals[name], each.scaling)
        for task in self.tasks.values():
            task.check({name: tensors[name] for name in task.sizes})
        return tensors

    def results(self, tensors: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Adds the results that the model returns to the graph; returns them by the network's tensors."""
        results: dict[str, tf.Tensor] = {}
        for task in self.tasks.values():
            results |= task.results({name: tensors[name] for name in task.sizes})
        return results


def scaled(name: str, each: NetworkInput, raw: tf.Tensor) -> tf.Tensor:
    """Adds the real values of an input to a training graph, as the operation `name`."""
    if isinstance(each.scaling, RealInput):
        return tf.cast(raw, tf.float32, name=name) if raw.dtype != tf.float32 else tf.identity(raw, name=name)
    return each.scaling.real(tf.cast(raw, tf.float32), functools.partial(tf.divide, name=name))


def _by_channel(each: NetworkInput, real: tf.Tensor) -> tf.Tensor:
    """Adds product and sum of a scaling by channel; returns `real` itself for an input without, or with no effect."""
    if isinstance(each.scaling, RealInput) or not each.scaling.factors:
        return real
    factors, shifts = each.scaling.factors, each.scaling.shifts
    value = real
    with v1.name_scope(f"{real.op.name}_by_channel/"):
        if {*factors} != {1.0}:
            value = tf.multiply(value, tf.constant(factors, tf.float32, name="factors"), name="product")
        if {*shifts} != {0.0}:
            value = tf.add(value, tf.constant(shifts, tf.float32, name="shifts"), name="sum")
    return value


def end_names(tensors: Mapping[str, tf.Tensor]) -> dict[str, str]:
    """Returns the names of tensors: that of the operation, for its first output."""
    return {name: str(each.op.name if each.value_index == 0 else each.name) for name, each in tensors.items()}


def op_name(name: str, count: int) -> str:
    """Returns the name of the operation with the real values of an input, one of `count`."""
    return INPUT if count == 1 else f"{INPUT}_{name}"
