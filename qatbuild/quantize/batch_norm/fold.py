"""Folding batch norms into the weights and biases of their layers.

For inference, and for a batch norm whose statistics are given (Jacob et al. 2018, equation 14):

    y = op(x, W s) + b,   s = gamma / sqrt(variance + epsilon),   b = beta - mean s

In training the batch's statistics take the place of the given ones, but weights that jitter with every batch would
make their range jitter too. So the weights are scaled with the slow moving average of the variance, and the quotient
is made good behind the layer (Krishnamoorthi 2018, section 3.2.2), with c = sigma_batch / sigma_moving:

    y = op(x, c W s) / c + b

What will be fake-quantized, c W s = W gamma / sigma_moving, is what inference computes with, and before quantization y
is exactly batch normalization. Once the statistics are frozen, c is 1 and y is inference's.

A bias d that the layer itself adds is part of what is normalized: b = beta + (d - mean) s, in training too, where the
batch's mean moves with d.

Names are those of tf.contrib.quantize. The old operations stay in the graph, without an output that anything reads.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from qatbuild.quantize.batch_norm.batch_statistics import batch_statistics
from qatbuild.quantize.batch_norm.find import BatchNorm
from qatbuild.quantize.graph.rewire import duplicate, replace_input, run_first
from qatbuild.quantize.rewrite_report import FoldedBatchNorm
from qatbuild.quantize.tf1.placement import parent

v1 = tf.compat.v1


def fold(batch_norm: BatchNorm, freeze_delay_steps: int | None = None) -> FoldedBatchNorm:
    """Fold one batch norm, in place. `freeze_delay_steps`: the step at which a training one takes the moving averages.

    All who read the batch norm's result read the folded layer's afterwards.
    """
    layer = batch_norm.layer
    scope = parent(layer.name)
    below = f"{scope}/" if scope else ""
    weights, correction = layer.inputs[1], None
    with v1.name_scope(below or None), tf.device(layer.device):
        with v1.name_scope(f"{below}BatchNorm_Fold/"):
            statistics = batch_statistics(batch_norm, freeze_delay_steps)
            factor = tf.math.rsqrt(statistics.variance + batch_norm.epsilon)
            scale = factor if batch_norm.gamma is None else batch_norm.gamma * factor
            shift = statistics.mean if batch_norm.bias is None else statistics.mean - batch_norm.bias
            if batch_norm.beta is None:
                bias = tf.negative(shift * scale, name="bias")
            else:
                bias = tf.subtract(batch_norm.beta, shift * scale, name="bias")
            if batch_norm.training:
                correction = _correction(batch_norm, factor)
                by_correction = along_outputs(correction, layer, "correction_reshape")
            by_scale = along_outputs(scale, layer, "scale_reshape")
        if correction is not None:
            weights = tf.multiply(by_correction, weights, name="correction_mult")
        weights = tf.multiply(weights, by_scale, name="mul_fold")
        output = _twin(batch_norm, weights)
        if correction is not None:
            with v1.name_scope(f"{below}BatchNorm_Fold/batch_norm_correction/"):
                reciprocal = tf.math.reciprocal(correction, name="reciprocal_compute")
                # Two additions are how a folded layer is told from a residual one, here and in TF 1's graphs.
                nothing = tf.zeros_like(bias, name="zeros")
            output = tf.multiply(reciprocal, output, name="post_conv_mul")
            output = tf.add(output, nothing, name="correction_add")
        output = tf.add(output, bias, name="add_fold")
    output = _take_over(batch_norm, output)
    return FoldedBatchNorm(layer.name, batch_norm.operation.name, weights.name, output.name, bias.name)


def _correction(batch_norm: BatchNorm, factor: tf.Tensor) -> tf.Tensor | None:
    """The quotient c = sigma_batch / sigma_moving, float32 [channels]; `factor` is 1 / sigma_batch."""
    average = batch_norm.moving_variance
    if average is None:
        return None
    with v1.name_scope("batch_norm_correction"):
        shifted = average.value + batch_norm.epsilon
        if average.changes_its_readers:
            run_first([shifted.op], average.update)
        return tf.divide(tf.math.rsqrt(shifted), factor, name="correction_scale")


def along_outputs(vector: tf.Tensor, layer: tf.Operation, name: str) -> tf.Tensor:
    """A vector over the layer's output channels in a shape that scales the layer's weights."""
    weights = layer.inputs[1].shape
    if layer.type == "DepthwiseConv2dNative":  # [height, width, inputs, multiplier]
        return tf.reshape(vector, weights[2:], name=name)
    if layer.type == "MatMul" and layer.get_attr("transpose_b"):
        return tf.reshape(vector, [-1, 1], name=name)
    return vector


def _twin(batch_norm: BatchNorm, weights: tf.Tensor) -> tf.Tensor:
    """The layer with the folded weights, and BatchToSpaceND behind it if it is an atrous convolution."""
    layer = batch_norm.layer
    twin = duplicate(layer, [layer.inputs[0], weights], f"{layer.name.rpartition('/')[2]}_Fold")
    for each in batch_norm.between:
        if each.type == "BatchToSpaceND":
            twin = duplicate(each, [twin.outputs[0], *each.inputs[1:]], f"{each.name.rpartition('/')[2]}_Fold")
    return twin.outputs[0]


def _take_over(batch_norm: BatchNorm, output: tf.Tensor) -> tf.Tensor:
    """Let the network read `output` instead of the batch norm's result; what it reads then."""
    old = batch_norm.output
    if batch_norm.result is not old:
        # Dense: the reshaping back goes, what waits in between for the moving averages stays.
        waits_for = _control_inputs(old.consumers())
        if waits_for:
            with tf.control_dependencies(waits_for):
                output = tf.identity(output)
        old = batch_norm.result
    replace_input(tuple(dict.fromkeys(old.consumers())), old, output)
    return output


def _control_inputs(operations: Iterable[tf.Operation]) -> list[tf.Operation]:
    return [each for operation in operations for each in operation.control_inputs]
