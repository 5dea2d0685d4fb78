"""The network as a training graph.

The order matters: the network, then fake quantization, then the loss on the rewritten graph, then the optimizer. In any
other order the gradients would bypass the fake quantization without an error.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.worker import models
from qatbuild.worker.models import scaling_layers
from qatbuild.worker.training.inference import INPUT, Classifier
from qatbuild.worker.training.optimizer import Optimizer, loss
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.session import deterministic

v1 = tf.compat.v1


@dataclass(frozen=True)
class Training:
    """A training graph: its inputs and outputs, and its variables by owner.

    images         uint8 [batch, height, width, channels], fed
    labels         int32 [batch], fed
    learning_rate  float32 scalar, fed
    loss           float32 scalar, before the step
    step           the operation that does one step
    model          the network's own variables, those of a float checkpoint
    ranges         minimum and maximum of each fake-quantized tensor, by its name: scalars, or float32 [channels]
    new            variables with fresh values in every training: ranges and their averages, counters, the optimizer's
    trains         whether there is anything that a step changes
    """

    graph: tf.Graph
    images: tf.Tensor
    labels: tf.Tensor
    learning_rate: tf.Tensor
    loss: tf.Tensor
    step: tf.Operation
    model: tuple[tf.Variable, ...]
    ranges: dict[str, tuple[tf.Variable, tf.Variable]]
    new: tuple[tf.Variable, ...]
    trains: bool = True

    @property
    def published(self) -> dict[str, tf.Variable]:
        """Return the variables of a published checkpoint by name: the network's, its ranges, the global step."""
        ends = [end for pair in self.ranges.values() for end in pair]
        return {variable.op.name: variable for variable in [*self.model, *ends, v1.train.get_global_step(self.graph)]}


def training(
    target: Classifier, optimizer: Optimizer, *, weight_decay: float, seed: int, rewrite: Rewrite | None
) -> Training:
    """Build the training graph of a network, in float or with the fake quantization of `rewrite`."""
    deterministic()
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(seed)
        global_step = v1.train.get_or_create_global_step()
        images = v1.placeholder(tf.uint8, [None, *target.shape], name="images")
        labels = v1.placeholder(tf.int32, [None], name="labels")
        learning_rate = v1.placeholder(tf.float32, [], name="learning_rate")
        real = target.scaling.real(tf.cast(images, tf.float32), functools.partial(tf.divide, name=INPUT))
        logits = models.build(real, target.classes, target.network, training=True)
        scaling_layers.check(real, target.scaling)
        probabilities = models.predict(logits)
        model = tuple(variable for variable in v1.global_variables() if variable.op.name != global_step.op.name)
        names = rewrite.training(graph, real.op.name, logits.op.name) if rewrite else {}
        kernels = [weights for weights in v1.trainable_variables() if weights.shape.rank > 1]
        total = loss(labels, probabilities.op.inputs[0], kernels, weight_decay)
        with tf.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS)):
            built = optimizer.build(learning_rate)
            # A network of constants, such as an imported frozen graph, has nothing that a step could change.
            trains = bool(v1.trainable_variables())
            step = built.minimize(total, global_step) if trains else v1.assign_add(global_step, 1).op
        named = {variable.op.name: variable for variable in v1.global_variables()}
        scopes = tuple(f"{tensor}/" for tensor in names)
        counters = {global_step.op.name, *(rewrite.counters if rewrite else ())}
        slots = {variable.op.name for variable in built.variables()}
        new = [
            variable for name, variable in named.items() if name in counters or name in slots or name.startswith(scopes)
        ]
        ranges = {tensor: (named[low], named[high]) for tensor, (low, high) in names.items()}
    return Training(graph, images, labels, learning_rate, total, step, model, ranges, tuple(new), trains=trains)
