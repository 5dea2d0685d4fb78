"""Folding a batch norm in training without a second layer: the weights go to inference's scale and back.

Inference computes with the folded weights W s, s = gamma / sigma_moving, rounded to codes. In training the layer takes

    V = FakeQuant(W s) / s

and the batch norm behind it stays what it is, with the statistics of what the layer now gives. The layer is linear in
each output channel's weights, so op(x, V) s is what inference's weights give; and as a batch norm is blind to the scale
of its input, s may follow the moving average while the batch's sigma jitters (the quotient of the two is what
Krishnamoorthi 2018, section 3.2.2 calls the correction). tf.contrib.quantize computed the statistics with float
weights, by a convolution of their own; here they are those of the quantized layer, at the cost of one.

s only places the grid: gamma learns through the batch norm. A channel whose gamma is 0 has the weights 0.

From the freeze on the batch norm normalizes with its moving averages, which then stay as they are: what it gives is

    (op(x, V) + d - mean) s + beta = op(x, FakeQuant(W s)) + (beta + (d - mean) s)

the inference graph's values, where d is the layer's own bias.
"""

from __future__ import annotations

import tensorflow as tf

from qatbuild.quantize.batch_norm import BatchNorm
from qatbuild.quantize.batch_statistics import frozen_statistics, hold, move_readers
from qatbuild.quantize.fold import along_outputs
from qatbuild.quantize.gate import counted_step
from qatbuild.quantize.moving_average import MovingAverage
from qatbuild.quantize.outcome import FoldedBatchNorm
from qatbuild.quantize.placement import parent
from qatbuild.quantize.rewire import duplicate, replace_input, run_first, switch_and_merge

v1 = tf.compat.v1


def fold_in_training(norm: BatchNorm, freeze_delay_steps: int | None) -> FoldedBatchNorm:
    """Give a layer with a batch norm in training the weights described above, in place.

    From the `freeze_delay_steps`-th run of the graph on the moving averages are taken; with None never. The record's
    `weights` are W s, on which the FakeQuant belongs.
    """
    assert norm.moving_mean is not None
    assert norm.moving_variance is not None
    layer = norm.layer
    scope = parent(layer.name)
    below = f"{scope}/" if scope else ""
    with v1.name_scope(below or None), tf.device(layer.device):
        with v1.name_scope(f"{below}BatchNorm_Fold/"):
            scale = tf.stop_gradient(_scale(norm, norm.moving_variance), name="scale")
            divisor = tf.where(tf.equal(scale, 0.0), tf.ones_like(scale), scale)
            there, back = (along_outputs(each, layer, "scale_reshape") for each in (scale, divisor))
        weights = tf.multiply(layer.inputs[1], there, name="mul_fold")
        replace_input([layer], layer.inputs[1], tf.divide(weights, back, name="div_fold"))
        output = norm.result
        if freeze_delay_steps is not None:
            with v1.name_scope(f"{below}BatchNorm_Fold/"):
                output = _freeze(norm, norm.moving_mean, norm.moving_variance, freeze_delay_steps)
    return FoldedBatchNorm(layer=layer.name, batch_norm=norm.operation.name, weights=weights.name, output=output.name)


def _scale(norm: BatchNorm, variance: MovingAverage) -> tf.Tensor:
    """The factor s, float32 [channels]."""
    shifted = tf.reshape(variance.value, [-1]) + norm.epsilon
    if variance.changes_its_readers:
        run_first([shifted.op], variance.update)
    factor = tf.math.rsqrt(shifted)
    return factor if norm.gamma is None else tf.reshape(norm.gamma, [-1]) * factor


def _freeze(norm: BatchNorm, mean: MovingAverage, variance: MovingAverage, delay_steps: int) -> tf.Tensor:
    """Switch the batch norm from the batch's statistics to the moving averages; the result that is then read."""
    step = counted_step(norm.mean.graph)
    frozen = tf.greater_equal(step, tf.constant(delay_steps, tf.int64), name="use_moving_average")
    with switch_and_merge():
        for average in (mean, variance):
            hold(average, frozen)
        if not norm.fused:
            new_mean, new_variance = frozen_statistics(norm, frozen)
            move_readers(norm.mean, new_mean)
            move_readers(norm.variance, new_variance)
            return norm.result
        output, new_mean, new_variance = v1.cond(
            frozen,
            lambda: (_with_moving_averages(norm, mean, variance), tf.identity(mean.value), tf.identity(variance.value)),
            lambda: tuple(duplicate(norm.operation, norm.operation.inputs).outputs[:3]),
            name="frozen",
        )
    output.set_shape(norm.output.shape)
    for old, new in ((norm.mean, new_mean), (norm.variance, new_variance), (norm.output, output)):
        new.set_shape(old.shape)
        move_readers(old, new)
    return output if norm.result is norm.output else norm.result


def _with_moving_averages(norm: BatchNorm, mean: MovingAverage, variance: MovingAverage) -> tf.Tensor:
    x, gamma, beta, *_ = norm.operation.inputs
    output, *_ = v1.nn.fused_batch_norm(
        x, gamma, beta, mean.value, variance.value, norm.epsilon, is_training=False, name="inference"
    )
    return output
