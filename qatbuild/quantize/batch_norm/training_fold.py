"""Folds a batch norm in training with a single convolution: weights are quantized at inference's scale and scaled back.

Inference uses the folded weights W s, s = gamma / sigma_moving, quantized. In training the layer uses

    V = FakeQuant(W s) / s

and the batch norm behind it stays, with the statistics of the quantized layer's output. The layer is linear in each
output channel's weights, so op(x, V) s is the output with inference's weights. A batch norm ignores the scale of its
input, so s may follow the moving average while the batch's sigma jitters (Krishnamoorthi 2018, section 3.2.2 corrects
by the quotient of the two). tf.contrib.quantize computed the statistics by a second convolution, with float weights.

s only places the quantization grid: gamma learns through the batch norm. A channel with gamma 0 has weights 0.

From the freeze on, the batch norm uses its moving averages, which do not change any more, and its result is

    (op(x, V) + d - mean) s + beta = op(x, FakeQuant(W s)) + (beta + (d - mean) s)

the values of the inference graph, where d is the layer's own bias. The rounding error that the runtime makes in the
last term is added to beta as a constant, so that training sees it.
"""

from __future__ import annotations

import tensorflow as tf

from qatbuild.quantize.batch_norm.batch_statistics import frozen_statistics, hold, move_readers
from qatbuild.quantize.batch_norm.find import BatchNorm
from qatbuild.quantize.batch_norm.fold import along_outputs
from qatbuild.quantize.batch_norm.moving_average import MovingAverage
from qatbuild.quantize.graph.names import parent_scope
from qatbuild.quantize.graph.quant_delay import counted_step
from qatbuild.quantize.graph.rewire import duplicate, replace_input, run_first, switch_and_merge
from qatbuild.quantize.rewrite_report import FoldedBatchNorm

v1 = tf.compat.v1


def fold_in_training(norm: BatchNorm, freeze_delay_steps: int | None) -> FoldedBatchNorm:
    """Lets the layer of a training batch norm use the weights V, in place.

    From the `freeze_delay_steps`-th run of the graph on it uses the moving averages; None: never. The record's
    `weights` are W s, the tensor to fake-quantize; its `bias` is that of inference, read by the operation that adds its
    rounding error.
    """
    assert norm.moving_mean is not None
    assert norm.moving_variance is not None
    layer = norm.layer
    scope = parent_scope(layer.name)
    below = f"{scope}/" if scope else ""
    with v1.name_scope(below or None), tf.device(layer.device):
        with v1.name_scope(f"{below}BatchNorm_Fold/"):
            scale = tf.stop_gradient(_scale(norm, norm.moving_variance), name="scale")
            bias = _add_rounding(norm, norm.moving_mean, scale)
            divisor = tf.where(tf.equal(scale, 0.0), tf.ones_like(scale), scale)
            there, back = (along_outputs(each, layer, "scale_reshape") for each in (scale, divisor))
        weights = tf.multiply(layer.inputs[1], there, name="mul_fold")
        replace_input([layer], layer.inputs[1], tf.divide(weights, back, name="div_fold"))
        output = norm.result
        if freeze_delay_steps is not None:
            with v1.name_scope(f"{below}BatchNorm_Fold/"):
                output = _freeze(norm, norm.moving_mean, norm.moving_variance, freeze_delay_steps)
    return FoldedBatchNorm(layer.name, norm.operation.name, weights.name, output.name, bias.name)


def _scale(norm: BatchNorm, variance: MovingAverage) -> tf.Tensor:
    """Returns the factor s, float32 [channels]."""
    shifted = tf.reshape(variance.value, [-1]) + norm.epsilon
    if variance.changes_its_readers:
        run_first([shifted.op], variance.update)
    factor = tf.math.rsqrt(shifted)
    return factor if norm.gamma is None else tf.reshape(norm.gamma, [-1]) * factor


def _add_rounding(norm: BatchNorm, mean: MovingAverage, scale: tf.Tensor) -> tf.Tensor:
    """Lets the batch norm also add the rounding error of inference's bias; returns the tensor to round, [channels].

    The error is 0 until that tensor's reader reads a rounded one.
    """
    shift = tf.negative(tf.reshape(mean.value, [-1]))
    if mean.changes_its_readers:
        run_first([shift.op], mean.update)
    if norm.bias is not None:
        shift += tf.reshape(norm.bias, [-1])
    bias = shift * scale if norm.beta is None else tf.reshape(norm.beta, [-1]) + shift * scale
    bias = tf.stop_gradient(bias, name="bias")
    to_round: tf.Tensor = tf.identity(bias, name="bias_to_round")
    rounding = tf.subtract(to_round, bias, name="bias_rounding")
    # A fused batch norm adds its third input; the sum of an unfused one adds beta less the scaled mean to scaled x.
    inputs = norm.operation.inputs
    added = inputs[2] if norm.fused else next(each for each in inputs if not any(x is norm.x for x in each.op.inputs))
    replace_input([norm.operation], added, added + tf.reshape(rounding, tf.shape(added)))
    return to_round


def _freeze(norm: BatchNorm, mean: MovingAverage, variance: MovingAverage, delay_steps: int) -> tf.Tensor:
    """Switches the batch norm from the batch's statistics to the moving averages; returns its new result."""
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
    output, new_mean, new_variance = _switched(norm, mean, variance, frozen)
    for old, new in ((norm.mean, new_mean), (norm.variance, new_variance), (norm.output, output)):
        new.set_shape(old.shape)
        move_readers(old, new)
    return output if norm.result is norm.output else norm.result


def _switched(
    norm: BatchNorm, mean: MovingAverage, variance: MovingAverage, frozen: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns output, mean and variance of the fused batch norm: the moving averages' if `frozen`, else the batch's.

    Both branches share one Switch per input. `cond` would make one per branch, and the gradient of x would be a sum
    with a tensor of zeros of its size: a tenth of the time of a ResNet's training step.
    """
    with v1.name_scope("frozen"):
        inputs = [*norm.operation.inputs[:3], mean.value, variance.value]
        sides = [tf.raw_ops.Switch(data=each, pred=frozen) for each in inputs]
        x, gamma, beta, *averages = (side.output_true for side in sides)
        fixed, *_ = v1.nn.fused_batch_norm(x, gamma, beta, *averages, norm.epsilon, is_training=False, name="inference")
        moving = duplicate(norm.operation, [*(side.output_false for side in sides[:3]), *norm.operation.inputs[3:]])
        pairs = zip(moving.outputs[:3], (fixed, *averages), strict=True)
        output, new_mean, new_variance = (tf.raw_ops.Merge(inputs=pair).output for pair in pairs)
    return output, new_mean, new_variance
