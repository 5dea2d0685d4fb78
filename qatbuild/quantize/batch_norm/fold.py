"""Folds batch norms into the weights and biases of their layers, as tf.contrib.quantize did.

For inference, and wherever the statistics are variables (Jacob et al. 2018, equation 14):

    y = op(x, W s) + b,   s = gamma / sqrt(variance + epsilon),   b = beta - mean s

In training, with the batch's statistics, W s and its range would jitter from batch to batch. So the weights are scaled
by the slow moving average of the variance instead, and the layer's output is corrected (Krishnamoorthi 2018, section
3.2.2), with c = sigma_batch / sigma_moving:

    y = op(x, c W s) / c + b

The tensor that will be fake-quantized, c W s = W gamma / sigma_moving, is the one that inference uses, and without
quantization y is exactly batch normalization. Once the statistics are frozen, c = 1 and y is that of inference.

A bias d that the layer itself adds is normalized with its output: b = beta + (d - mean) s; in training the batch's mean
depends on d.

Names are those of tf.contrib.quantize. The old operations stay in the graph, unread.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from qatbuild.quantize.batch_norm.batch_statistics import batch_statistics
from qatbuild.quantize.batch_norm.find import BatchNorm
from qatbuild.quantize.graph.layer_ops import TRANSPOSED_TYPES, keeps_channels
from qatbuild.quantize.graph.names import parent_scope
from qatbuild.quantize.graph.rewire import duplicate, replace_input, run_first
from qatbuild.quantize.graph.walk import consumers
from qatbuild.quantize.rewrite_report import FoldedBatchNorm

v1 = tf.compat.v1


def fold(batch_norm: BatchNorm, freeze_delay_steps: int | None = None) -> FoldedBatchNorm:
    """Folds one batch norm, in place, and moves the readers of its result to the folded layer's.

    In training it uses the moving averages from step `freeze_delay_steps` on; None: never.
    """
    layer = batch_norm.layer
    scope = parent_scope(layer.name)
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
        output = _folded_layer(batch_norm, weights)
        if correction is not None:
            with v1.name_scope(f"{below}BatchNorm_Fold/batch_norm_correction/"):
                reciprocal = tf.math.reciprocal(correction, name="reciprocal_compute")
                # Two additions distinguish a folded layer from a residual one, here and in TF 1's graphs.
                nothing = tf.zeros_like(bias, name="zeros")
            output = tf.multiply(reciprocal, output, name="post_conv_mul")
            output = tf.add(output, nothing, name="correction_add")
        output = tf.add(output, bias, name="add_fold")
    output = _move_readers(batch_norm, output)
    return FoldedBatchNorm(layer.name, batch_norm.operation.name, weights.name, output.name, bias.name)


def _correction(batch_norm: BatchNorm, factor: tf.Tensor) -> tf.Tensor | None:
    """Returns c = sigma_batch / sigma_moving, [channels], or None outside training; `factor` is 1 / sigma_batch."""
    average = batch_norm.moving_variance
    if average is None:
        return None
    with v1.name_scope("batch_norm_correction"):
        shifted = average.value + batch_norm.epsilon
        if average.changes_its_readers:
            run_first([shifted.op], average.update)
        return tf.divide(tf.math.rsqrt(shifted), factor, name="correction_scale")


def along_outputs(vector: tf.Tensor, layer: tf.Operation, name: str) -> tf.Tensor:
    """Reshapes a vector over the layer's output channels so that it multiplies the layer's weights."""
    weights = layer.inputs[1].shape
    if layer.type == "DepthwiseConv2dNative":  # [height, width, inputs, multiplier]
        return tf.reshape(vector, weights[2:], name=name)
    if layer.type in TRANSPOSED_TYPES or (layer.type == "MatMul" and layer.get_attr("transpose_b")):
        return tf.reshape(vector, [-1, 1], name=name)
    return vector


def _folded_layer(batch_norm: BatchNorm, weights: tf.Tensor) -> tf.Tensor:
    """Returns the output of a copy of the layer with the folded weights, and of what moves values behind it."""
    layer = batch_norm.layer
    inputs = [weights if index == 1 else each for index, each in enumerate(layer.inputs)]
    folded_copy = duplicate(layer, inputs, f"{layer.name.rpartition('/')[2]}_Fold")
    reshaped_back = batch_norm.result is not batch_norm.output
    for each in batch_norm.between:
        if each.type == "BatchToSpaceND" or (keeps_channels(each) and each.type != "Identity" and not reshaped_back):
            folded_copy = duplicate(
                each, [folded_copy.outputs[0], *each.inputs[1:]], f"{each.name.rpartition('/')[2]}_Fold"
            )
    return folded_copy.outputs[0]


def _move_readers(batch_norm: BatchNorm, output: tf.Tensor) -> tf.Tensor:
    """Lets the readers of the batch norm's result read `output`; returns the tensor that they read then."""
    old = batch_norm.output
    if batch_norm.result is not old:
        # Dense: the reshaping back goes; an Identity that waits for the moving averages' updates stays.
        waits_for = _control_inputs(old.consumers())
        if waits_for:
            with tf.control_dependencies(waits_for):
                output = tf.identity(output)
        old = batch_norm.result
    replace_input(consumers(old), old, output)
    return output


def _control_inputs(operations: Iterable[tf.Operation]) -> list[tf.Operation]:
    return [each for operation in operations for each in operation.control_inputs]
