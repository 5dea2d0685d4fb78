"""Standalone batch norms, those without a layer in front, get one: a 1 x 1 depthwise convolution with weights of 1.

Once the batch norm is folded into it, its factors are the layer's weights and its shift is the layer's bias. The
runtime computes it in one step with the activation behind it and rounds once; a multiplication and an addition would
round twice.
"""

from __future__ import annotations

import math

import tensorflow as tf

from qatbuild.quantize.batch_norm.find import Unfoldable
from qatbuild.quantize.graph.names import parent_scope
from qatbuild.quantize.graph.rewire import replace_input
from qatbuild.quantize.graph.walk import consumers, reachable, readers

v1 = tf.compat.v1

_IMAGE = 3
"""The rank of one image: height, width, channels."""


def insert_layer(norm: Unfoldable) -> None:
    """Inserts the layer between a standalone batch norm and its input x, float32 [batch, .., channels].

    The layer is one over images: x of other ranks is reshaped for it, and back.
    """
    x = norm.x
    assert x is not None
    # Other readers of x (a residual connection, for instance) still read x itself.
    own_readers = [each for each in consumers(x) if norm.operation in reachable([each], readers)]
    scope, inner = parent_scope(norm.operation.name), x.shape.as_list()[1:]
    with v1.name_scope(f"{scope}/" if scope else None):
        ones = tf.ones([1, 1, inner[-1], 1], name="ones")
        ones = tf.identity(ones)  # the fold expects weights that come through an operation
        images = x if len(inner) == _IMAGE else tf.reshape(x, [-1, 1, math.prod(inner[:-1]), inner[-1]])
        layer = v1.nn.depthwise_conv2d_native(images, ones, [1, 1, 1, 1], "VALID", name="depthwise")
        output = layer if len(inner) == _IMAGE else tf.reshape(layer, [-1, *inner])
    replace_input(own_readers, x, output)
