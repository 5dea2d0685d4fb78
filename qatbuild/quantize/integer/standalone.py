"""A batch norm with no layer in front of it becomes a layer: a depthwise convolution of 1 x 1 whose weights are ones.

Folded into it, its factors are the layer's weights and its shift the layer's bias. The runtime computes it in one step
with the activation behind it, and rounds once; a multiplication and an addition would round twice.
"""

from __future__ import annotations

import tensorflow as tf

from qatbuild.quantize.batch_norm.find import Unfoldable
from qatbuild.quantize.graph.rewire import replace_input
from qatbuild.quantize.tf1.placement import parent

v1 = tf.compat.v1


def as_layer(norm: Unfoldable) -> None:
    """Put the layer between a batch norm that stands alone and what it normalizes, float32 [batch, h, w, channels]."""
    x = norm.x
    assert x is not None
    # What else reads x goes on without it: a residual connection, say.
    readers = [each for each in dict.fromkeys(x.consumers()) if _leads_to(each, norm.operation)]
    scope = parent(norm.operation.name)
    with v1.name_scope(f"{scope}/" if scope else None):
        ones = tf.ones([1, 1, x.shape[-1], 1], name="ones")
        ones = tf.identity(ones)  # weights come as an operation's output of their own
        layer = v1.nn.depthwise_conv2d_native(x, ones, [1, 1, 1, 1], "VALID", name="depthwise")
    replace_input(readers, x, layer)


def _leads_to(start: tf.Operation, end: tf.Operation) -> bool:
    seen: set[tf.Operation] = set()
    waiting = [start]
    while waiting:
        operation = waiting.pop()
        if operation is end:
            return True
        if operation not in seen:
            seen.add(operation)
            waiting += [each for tensor in operation.outputs for each in tensor.consumers()]
    return False
