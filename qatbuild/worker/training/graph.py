"""The network as a training graph.

The order matters: the network, then fake quantization, then the loss on the rewritten graph, then the optimizer. In any
other order the gradients would bypass the fake quantization without an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from qatbuild.exchange.dataset_facts import Column
from qatbuild.worker.training.application import Application, end_names, op_name, scaled
from qatbuild.worker.training.batches import Batch
from qatbuild.worker.training.optimizer import Optimizer, with_decay
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.session import deterministic

v1 = tf.compat.v1


@dataclass(frozen=True)
class Training:
    """A training graph: its inputs and outputs, and its variables by owner.

    inputs         by name, uint8 or float32 [batch, *shape], fed
    targets        by column, [batch, *shape], fed
    learning_rate  float32 scalar, fed
    loss           float32 scalar, before the step
    step           the operation that does one step
    model          the network's own variables, those of a float checkpoint
    ranges         minimum and maximum of each fake-quantized tensor, by its name: scalars, or float32 [channels]
    new            variables with fresh values in every training: ranges and their averages, counters, the optimizer's
    trains         whether there is anything that a step changes
    """

    graph: tf.Graph
    inputs: Mapping[str, tf.Tensor]
    targets: Mapping[str, tf.Tensor]
    learning_rate: tf.Tensor
    loss: tf.Tensor
    step: tf.Operation
    model: tuple[tf.Variable, ...]
    ranges: dict[str, tuple[tf.Variable, tf.Variable]]
    new: tuple[tf.Variable, ...]
    trains: bool = True

    def feed(self, batch: Batch, learning_rate: float) -> dict[tf.Tensor, Any]:
        """Returns the values to feed for a step."""
        feed = {tensor: batch.inputs[name] for name, tensor in self.inputs.items()}
        feed |= {tensor: batch.targets[name] for name, tensor in self.targets.items()}
        return {**feed, self.learning_rate: learning_rate}

    @property
    def published(self) -> dict[str, tf.Variable]:
        """Returns the variables of a published checkpoint by name: the network's, its ranges, the global step."""
        ends = [end for pair in self.ranges.values() for end in pair]
        return {variable.op.name: variable for variable in [*self.model, *ends, v1.train.get_global_step(self.graph)]}


def training(
    target: Application,
    columns: Mapping[str, Column],
    optimizer: Optimizer,
    *,
    weight_decay: float,
    seed: int,
    rewrite: Rewrite | None,
) -> Training:
    """Builds the training graph of a network, in float or with the fake quantization of `rewrite`.

    `columns` are those of the dataset.
    """
    deterministic()
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(seed)
        global_step = v1.train.get_or_create_global_step()
        # TensorFlow derives the seeds of a user's own random operations from the number of operations before them: this
        # order is part of what a spec trains.
        inputs = {
            name: v1.placeholder(each.dtype, [None, *each.shape], name=name) for name, each in target.inputs.items()
        }
        targets = {
            name: v1.placeholder(columns[name].dtype, [None, *columns[name].shape], name=f"target_{name}")
            for name in target.targets
        }
        learning_rate = v1.placeholder(tf.float32, [], name="learning_rate")
        reals = {name: scaled(op_name(name, len(inputs)), each, inputs[name]) for name, each in target.inputs.items()}
        read_values = target.by_channel(reals)
        tensors = target.network_tensors(read_values, training=True)
        results = target.results(tensors)
        model = tuple(variable for variable in v1.global_variables() if variable.op.name != global_step.op.name)
        names = rewrite.training(graph, end_names(reals), end_names(tensors)) if rewrite else {}
        kernels = [weights for weights in v1.trainable_variables() if weights.shape.rank > 1]
        read = {each.column: read_values[name] for name, each in target.inputs.items()}
        total = _total_loss(target, results, {**read, **targets}, read)
        total = with_decay(total, kernels, weight_decay)
        # One operation that waits for all updates: an edge from each of them to each operation behind is quadratic.
        with tf.control_dependencies([tf.group(*v1.get_collection(v1.GraphKeys.UPDATE_OPS), name="updates")]):
            built = optimizer.build(learning_rate)
            # A network of constants, such as an imported frozen graph, has nothing that a step could change, and
            # without labels nothing says how.
            trains = bool(v1.trainable_variables()) and any(task.targets for task in target.tasks.values())
            step = built.minimize(total, global_step) if trains else v1.assign_add(global_step, 1).op
        named = {variable.op.name: variable for variable in v1.global_variables()}
        scopes = tuple(f"{tensor}/" for tensor in names)
        counters = {global_step.op.name, *(rewrite.counters if rewrite else ())}
        slots = {variable.op.name for variable in built.variables()}
        new = [
            variable for name, variable in named.items() if name in counters or name in slots or name.startswith(scopes)
        ]
        ranges = {tensor: (named[low], named[high]) for tensor, (low, high) in names.items()}
    return Training(graph, inputs, targets, learning_rate, total, step, model, ranges, tuple(new), trains=trains)


def _total_loss(
    target: Application,
    results: Mapping[str, tf.Tensor],
    targets: Mapping[str, tf.Tensor],
    inputs: Mapping[str, tf.Tensor],
) -> tf.Tensor:
    """Returns the sum of the tasks' losses by their weights: float32 scalar, 0 without labels.

    A loss reads what the results read: behind a rewrite that is the fake-quantized tensor. `targets` and `inputs` (real
    values) are by column.
    """
    tensors = {name: result.op.inputs[0] for name, result in results.items()}
    losses = []
    for name, task in target.tasks.items():
        if not task.targets:  # A pretrained network without labels.
            continue
        of_task = {each: tensors[each] for each in task.sizes}
        wanted = {each: targets[each] for each in task.targets}
        value, weight = task.loss(of_task, wanted, inputs), target.loss_weights[name]
        losses.append(value if weight == 1 else value * weight)
    if not losses:
        return tf.zeros([], name="loss")
    return losses[0] if len(losses) == 1 else tf.add_n(losses, name="loss")
