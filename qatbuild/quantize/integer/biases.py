"""Biases as the integer runtime has them: 32-bit multiples of the scale of the products that they are added to.

    b <- S round(b / S),   S = S_input S_weights        Jacob et al. 2018, section 2.4

The converter rounds them whether or not the graph does. Where an input has large steps, as bytes that are not scaled
have, S is not small beside the output's step, and a graph without this rounding is not the network that will run.
"""

from __future__ import annotations

import tensorflow as tf

from qatbuild.quantize.affine import codes
from qatbuild.quantize.integer.learning import Ends
from qatbuild.quantize.integer.range_plan import Range


def rounded(bias: tf.Tensor, given: tuple[Range, Ends], weights: tuple[Range, Ends], *, training: bool) -> tf.Tensor:
    """The bias, float32 [channels], rounded; its gradient passes straight through.

    `given` and `weights` are the ranges of the layer's input and weights with their ends, float32 scalars or
    [channels].
    """
    step = tf.stop_gradient(_scale(*given) * _scale(*weights), name="product_scale")
    near = tf.multiply(tf.round(bias / step), step, name="rounded")
    return bias + tf.stop_gradient(near - bias) if training else near


def _scale(settings: Range, ends: Ends) -> tf.Tensor:
    least, greatest = codes(settings.bits, narrow_range=settings.narrow_range)
    return (ends.high - ends.low) / float(greatest - least)
