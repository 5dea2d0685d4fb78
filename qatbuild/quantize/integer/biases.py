"""Biases as the integer runtime has them: 32-bit multiples of the scale of the products that they are added to.

    b <- S round(b / S),   S = S_input S_weights        Jacob et al. 2018, section 2.4

The converter rounds them whether or not the graph does. Where the input has large quantization steps, as with bytes
that are not scaled, S is not small beside the output's scale, and a graph without this rounding computes other values
than the runtime.
"""

from __future__ import annotations

import tensorflow as tf

from qatbuild.quantize.graph.fake_quant import quant_limits
from qatbuild.quantize.integer.learning import RangeTensors
from qatbuild.quantize.integer.range_plan import RangeSpec

_QUARTER = 0.25


def rounded(
    bias: tf.Tensor,
    input_range: tuple[RangeSpec, RangeTensors],
    weights_range: tuple[RangeSpec, RangeTensors],
    *,
    training: bool,
    never_zero: bool = False,
    correction: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the bias, float32 [channels], rounded; in training its gradient passes straight through.

    The ranges are those of the layer's input and weights, float32 scalars or [channels]. `never_zero`: a quarter of a
    step more, which the converter rounds off; it does not see a ReLU behind a transposed convolution with a bias of 0.
    `correction` is added before the rounding, and has no gradient.
    """
    step = tf.stop_gradient(_scale(*input_range) * _scale(*weights_range), name="product_scale")
    wanted = bias if correction is None else bias + tf.reshape(correction, tf.shape(bias))
    steps = tf.round(wanted / step) + _QUARTER if never_zero else tf.round(wanted / step)
    near = tf.multiply(steps, step, name="rounded")
    return bias + tf.stop_gradient(near - bias) if training else near


def rounding_error(weights: tf.Tensor, spec: RangeSpec, tensors: RangeTensors) -> tf.Tensor:
    """Returns quantized weights less the weights, float32 of their shape; of a range that FakeQuant would nudge alike.

    Not by a FakeQuant, which the converter would not compute as the constant that it is here.
    """
    quant_min, quant_max = quant_limits(spec.bits, narrow_range=spec.narrow_range)
    # The output channels of depthwise weights are their last two axes.
    low, step = (
        each if each.shape.rank == 0 or each.shape == weights.shape[-1:] else tf.reshape(each, weights.shape[2:])
        for each in (tensors.min, _scale(spec, tensors))
    )
    zero = tf.round(tf.clip_by_value(quant_min - low / step, quant_min, quant_max))
    quantized = tf.clip_by_value(tf.round(weights / step) + zero, quant_min, quant_max)
    return (quantized - zero) * step - weights


def _scale(spec: RangeSpec, tensors: RangeTensors) -> tf.Tensor:
    quant_min, quant_max = quant_limits(spec.bits, narrow_range=spec.narrow_range)
    return (tensors.max - tensors.min) / float(quant_max - quant_min)
