"""The mean and variance that a folded layer normalizes with in training: the batch's, until they are frozen.

The layer's output before normalization is needed for nothing else, so everything that computes it (a second
convolution, with float weights) hangs on these two vectors. Frozen, the moving averages take their place, for all who
read them: the folded layer then computes what the inference graph computes, the moving averages' updates change
nothing any more, and the second convolution, which stands on the other side of the switch, does not run.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from qatbuild.quantize.batch_norm.find import BatchNorm
from qatbuild.quantize.batch_norm.moving_average import MovingAverage
from qatbuild.quantize.graph.quant_delay import counted_step
from qatbuild.quantize.graph.rewire import duplicate, replace_input, switch_and_merge

v1 = tf.compat.v1

GRADIENT = "FoldFusedBatchNormGrad"  # as in TF 1: graphs rewritten there find their gradient here


@dataclass(frozen=True)
class Statistics:
    """Mean and (biased) variance to normalize with, float32 [channels]."""

    mean: tf.Tensor
    variance: tf.Tensor


def batch_statistics(batch_norm: BatchNorm, freeze_delay_steps: int | None) -> Statistics:
    """The statistics of a batch norm in training, those who read the old ones rewired to them.

    From the `freeze_delay_steps`-th run of the graph on they are the moving averages; with None never.
    """
    mean, variance = batch_norm.moving_mean, batch_norm.moving_variance
    if mean is None or variance is None:
        return Statistics(batch_norm.mean, batch_norm.variance)
    if freeze_delay_steps is None:
        if not batch_norm.fused:
            return Statistics(batch_norm.mean, batch_norm.variance)
        new_mean, tracked, new_variance = _of_fused(batch_norm)
    else:
        frozen = tf.greater_equal(
            counted_step(batch_norm.mean.graph), tf.constant(freeze_delay_steps, tf.int64), name="use_moving_average"
        )
        with switch_and_merge():
            new_mean, tracked, new_variance = v1.cond(
                frozen,
                lambda: tuple(_shaped(each.value, batch_norm.mean) for each in (mean, variance, variance)),
                lambda: _computed_anew(batch_norm),
                name="statistics",
            )
            for average in (mean, variance):
                hold(average, frozen)
        for each in (new_mean, tracked, new_variance):
            each.set_shape(batch_norm.mean.shape)
    move_readers(batch_norm.mean, new_mean)
    move_readers(batch_norm.variance, tracked)
    return Statistics(new_mean, new_variance)


@tf.RegisterGradient(GRADIENT)
def _gradient_of_statistics(
    operation: tf.Operation, _of_output: tf.Tensor, of_mean: tf.Tensor, of_variance: tf.Tensor, *_others: tf.Tensor
) -> tuple[tf.Tensor | None, ...]:
    """The gradient of a fused batch norm that is used for its statistics alone.

    TensorFlow's own differentiates the normalized output only, and takes mean and variance for constants. Here the
    output is not used, while the folded weights and bias depend on the statistics. With n values in a channel,
    mean = sum(x) / n and the operation's unbiased variance = sum((x - mean)^2) / (n - 1),

        d mean / d x = 1 / n,   d variance / d x = 2 (x - mean) / (n - 1)

    (the mean's part in the second is sum(x - mean), which is 0). gamma, beta and the inputs of an inference batch
    norm have no part in the statistics.
    """
    x, mean = operation.inputs[0], operation.outputs[1]
    count = _count(x, mean)
    of_x = of_mean / count + 2.0 * of_variance * (x - mean) / tf.maximum(count - 1.0, 1.0)
    return of_x, None, None, None, None


def _of_fused(batch_norm: BatchNorm) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean, unbiased and biased variance out of a twin of the fused operation, with the gradient above."""
    operation = batch_norm.operation
    with operation.graph.gradient_override_map({operation.type: GRADIENT}):
        twin = duplicate(operation, operation.inputs)
    return twin.outputs[1], twin.outputs[2], _biased(twin)


def _computed_anew(batch_norm: BatchNorm) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The same for either form, with a layer of its own to compute them from: for the inside of a branch."""
    graph = batch_norm.mean.graph
    with graph.gradient_override_map({batch_norm.operation.type: GRADIENT} if batch_norm.fused else {}):
        layer = batch_norm.layer
        known: dict[tf.Operation, tf.Operation | None] = {tensor.op: None for tensor in layer.inputs}
        known[layer] = duplicate(layer, layer.inputs)
        mean, variance = _copied([batch_norm.mean, batch_norm.variance], known)
    return mean, variance, _biased(mean.op) if batch_norm.fused else variance


def _copied(tensors: list[tf.Tensor], known: dict[tf.Operation, tf.Operation | None]) -> list[tf.Tensor]:
    """The tensors again, computed by copies of everything between `known` operations and them.

    `known` has the operations to begin at with what takes their place, and None for those that are to stay.
    """

    def copy(operation: tf.Operation) -> tf.Operation | None:
        """The copy of an operation behind those to begin at, None of any other."""
        if operation not in known:
            copies = [copy(tensor.op) for tensor in operation.inputs]
            inputs = [
                tensor if new is None else new.outputs[tensor.value_index]
                for tensor, new in zip(operation.inputs, copies, strict=True)
            ]
            # Constants too: behind a switch the axes of a reduction would be unknown, and so its result's shape.
            inputs = [duplicate(each.op, []).outputs[0] if each.op.type == "Const" else each for each in inputs]
            known[operation] = duplicate(operation, inputs) if any(copies) else None
        return known[operation]

    found = [copy(tensor.op) for tensor in tensors]
    return [new.outputs[tensor.value_index] for tensor, new in zip(tensors, found, strict=True) if new is not None]


def _biased(fused: tf.Operation) -> tf.Tensor:
    """The fused operation's variance with n instead of n - 1 in its denominator: what it normalizes with."""
    count = _count(fused.inputs[0], fused.outputs[1])
    return tf.multiply(fused.outputs[2], (count - 1.0) / count, name="Undo_Bessel_Correction")


def _count(x: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.size(x) / tf.size(mean), tf.float32)


def frozen_statistics(batch_norm: BatchNorm, frozen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of an unfused batch norm: the moving averages where `frozen`, else the batch's.

    The reductions that compute the latter stand on the other side of the switch.
    """
    averages = [each for each in (batch_norm.moving_mean, batch_norm.moving_variance) if each is not None]
    statistics = [batch_norm.mean, batch_norm.variance]
    mean, variance = v1.cond(
        frozen,
        lambda: tuple(_shaped(each.value, batch_norm.mean) for each in averages),
        lambda: tuple(_copied(statistics, {batch_norm.x.op: batch_norm.x.op})),
        name="statistics",
    )
    for each in (mean, variance):
        each.set_shape(batch_norm.mean.shape)
    return mean, variance


def hold(average: MovingAverage, frozen: tf.Tensor) -> None:
    """Keep an average exactly as it is once it is frozen: its value times decay plus itself times rate is not it."""
    if not average.assigns_a_difference:
        new = average.update.inputs[1]
        held = v1.cond(frozen, lambda: tf.identity(average.value), lambda: tf.identity(new), name="hold")
        replace_input([average.update], new, held)


def _shaped(value: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """A moving average in the shape of the batch's statistic, which may have kept the dimensions it averaged over."""
    return tf.reshape(value, like.shape) if like.shape.is_fully_defined() else tf.identity(value)


def move_readers(old: tf.Tensor, new: tf.Tensor) -> None:
    """Move the readers of a statistic, except those who have a part in computing it (SquaredDifference)."""
    own = {"SquaredDifference", "StopGradient"}
    readers = [each for each in old.consumers() if each.type not in own]
    replace_input(readers, old, new)
