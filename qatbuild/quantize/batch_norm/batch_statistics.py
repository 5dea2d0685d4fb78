"""Mean and variance of a folded layer in training: the batch's, and from the freeze on the moving averages.

The layer's unnormalized output is computed, by a second convolution with float weights, only for these two vectors.
Once they are frozen, all their readers get the moving averages instead: the folded layer then computes what the
inference graph computes, the moving averages do not change any more, and the second convolution, on the other branch of
the switch, does not run.
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
    """Returns the statistics of a batch norm and moves the readers of the old ones to them.

    In training they are the moving averages from the `freeze_delay_steps`-th run of the graph on; None: never.
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
                lambda: _recomputed(batch_norm),
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
    """Returns the gradients of a fused batch norm of which only the statistics are used.

    TensorFlow's own gradient differentiates the normalized output and treats mean and variance as constants. Here the
    output is unused, and the folded weights and bias depend on the statistics. With n values in a channel,
    mean = sum(x) / n and the operation's unbiased variance = sum((x - mean)^2) / (n - 1),

        d mean / d x = 1 / n,   d variance / d x = 2 (x - mean) / (n - 1)

    (the derivative of the variance by the mean is a multiple of sum(x - mean) = 0). The statistics do not depend on
    gamma, beta and the inputs of an inference batch norm.
    """
    x, mean = operation.inputs[0], operation.outputs[1]
    count = _count(x, mean)
    of_x = of_mean / count + 2.0 * of_variance * (x - mean) / tf.maximum(count - 1.0, 1.0)
    return of_x, None, None, None, None


def _of_fused(batch_norm: BatchNorm) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns mean, unbiased and biased variance from a copy of the fused operation that has the gradient above."""
    operation = batch_norm.operation
    with operation.graph.gradient_override_map({operation.type: GRADIENT}):
        again = duplicate(operation, operation.inputs)
    return again.outputs[1], again.outputs[2], _biased(again)


def _recomputed(batch_norm: BatchNorm) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns mean, unbiased and biased variance, computed by a copy of the layer inside a branch of a cond."""
    graph = batch_norm.mean.graph
    with graph.gradient_override_map({batch_norm.operation.type: GRADIENT} if batch_norm.fused else {}):
        layer = batch_norm.layer
        copies: dict[tf.Operation, tf.Operation | None] = {tensor.op: None for tensor in layer.inputs}
        copies[layer] = duplicate(layer, layer.inputs)
        mean, variance = _copied([batch_norm.mean, batch_norm.variance], copies)
    return mean, variance, _biased(mean.op) if batch_norm.fused else variance


def _copied(tensors: list[tf.Tensor], copies: dict[tf.Operation, tf.Operation | None]) -> list[tf.Tensor]:
    """Returns the tensors computed once more, by copies of the operations between the keys of `copies` and them.

    `copies` maps an operation to its replacement, or to None if it is not to be copied; it is filled on the way.
    """

    def copy(operation: tf.Operation) -> tf.Operation | None:
        """Returns the copy of an operation that depends on a replaced one, None for any other."""
        if operation not in copies:
            producers = [copy(tensor.op) for tensor in operation.inputs]
            inputs = [
                tensor if new is None else new.outputs[tensor.value_index]
                for tensor, new in zip(operation.inputs, producers, strict=True)
            ]
            # Constants too: behind a switch the axes of a reduction would be unknown, and so its result's shape.
            inputs = [duplicate(each.op, []).outputs[0] if each.op.type == "Const" else each for each in inputs]
            copies[operation] = duplicate(operation, inputs) if any(producers) else None
        return copies[operation]

    made = [copy(tensor.op) for tensor in tensors]
    return [new.outputs[tensor.value_index] for tensor, new in zip(tensors, made, strict=True) if new is not None]


def _biased(fused: tf.Operation) -> tf.Tensor:
    """Returns the variance that the fused operation normalizes with: with n instead of n - 1 in the denominator."""
    count = _count(fused.inputs[0], fused.outputs[1])
    return tf.multiply(fused.outputs[2], (count - 1.0) / count, name="Undo_Bessel_Correction")


def _count(x: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.size(x) / tf.size(mean), tf.float32)


def frozen_statistics(batch_norm: BatchNorm, frozen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns mean and variance of an unfused batch norm: the moving averages if `frozen`, else the batch's.

    The reductions over the batch are on the other branch of the switch and do not run once it is frozen.
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
    """Lets the update of a frozen average assign its own value: value decay + value rate is rounded, and so differs."""
    if not average.assigns_a_difference:
        new = average.update.inputs[1]
        held = v1.cond(frozen, lambda: tf.identity(average.value), lambda: tf.identity(new), name="hold")
        replace_input([average.update], new, held)


def _shaped(value: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes a moving average to the shape of the batch's statistic, which may have dimensions of size 1."""
    return tf.reshape(value, like.shape) if like.shape.is_fully_defined() else tf.identity(value)


def move_readers(old: tf.Tensor, new: tf.Tensor) -> None:
    """Lets the readers of a statistic read `new`, except the operations that compute the variance from the mean."""
    readers = [each for each in old.consumers() if each.type not in {"SquaredDifference", "StopGradient"}]
    replace_input(readers, old, new)
