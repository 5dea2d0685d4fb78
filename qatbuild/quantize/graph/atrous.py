"""Atrous convolutions in three operations: SpaceToBatchND, a convolution, BatchToSpaceND; as Keras writes them.

Each block of the batch gets every d-th row and column. Padding of the SpaceToBatchND that the BatchToSpaceND does not
crop is the convolution's own. A convolution over one dimension stands between ExpandDims and Squeeze, in the blocks.

    SpaceToBatchND(x, [d, d], paddings), Conv2D, BatchToSpaceND(.., crops)
        =  Conv2D(pad(x, paddings - crops), dilations=[d, d])
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from qatbuild.quantize.graph.names import parent_scope
from qatbuild.quantize.graph.rewire import duplicate, replace_input
from qatbuild.quantize.graph.walk import consumers

v1 = tf.compat.v1

_TYPES = frozenset({"Conv2D", "DepthwiseConv2dNative"})
Pair = tuple[int, int]


@dataclass(frozen=True)
class Atrous:
    """The operations of one atrous convolution, its rates for rows and columns, its padding (before, after) of them."""

    blocks: tf.Operation
    expand: tf.Operation | None
    layer: tf.Operation
    squeeze: tf.Operation | None
    back: tf.Operation
    rates: Pair
    padding: tuple[Pair, Pair]


def atrous_of(layer: tf.Operation) -> Atrous | None:
    """Returns the atrous convolution around a layer; None unless one layer can compute it."""
    if layer.type not in _TYPES or not _is_plain(layer):
        return None
    before, expand = layer.inputs[0].op, None
    if before.type == "ExpandDims" and before.inputs[0].op.type == "SpaceToBatchND":
        before, expand = before.inputs[0].op, before
    behind, squeeze = _reader(layer), None
    if behind is not None and behind.type == "Squeeze" and expand is not None:
        behind, squeeze = _reader(behind), behind
    if before.type != "SpaceToBatchND" or behind is None or behind.type != "BatchToSpaceND":
        return None
    blocks, paddings, shape, crops = (tf.get_static_value(each) for each in (*before.inputs[1:], *behind.inputs[1:]))
    if any(each is None for each in (blocks, paddings, shape, crops)) or list(blocks) != list(shape):
        return None
    rates = [int(each) for each in blocks]
    padding = [(int(one), int(other)) for one, other in paddings - crops]
    if expand is not None:
        if squeeze is None or int(tf.get_static_value(expand.inputs[1])) not in {1, -3}:
            return None
        rates, padding = [1, *rates], [(0, 0), *padding]
    if not 1 <= len(rates) <= 2 or min(min(each) for each in padding) < 0:  # noqa: PLR2004 - rows and columns
        return None
    rates, padding = [*rates, 1][:2], [*padding, (0, 0)][:2]
    return Atrous(before, expand, layer, squeeze, behind, (rates[0], rates[1]), (padding[0], padding[1]))


def as_one_layer(atrous: Atrous) -> tf.Operation:
    """Lets the readers of an atrous convolution read one layer with dilations, in place, and returns it."""
    layer, scope = atrous.layer, parent_scope(atrous.layer.name)
    with v1.name_scope(f"{scope}/" if scope else None):
        x, padding = atrous.blocks.inputs[0], "VALID"
        if atrous.expand is not None:
            x = duplicate(atrous.expand, [x, atrous.expand.inputs[1]]).outputs[0]
        if _is_same(atrous):
            padding = "SAME"
        elif atrous.padding != ((0, 0), (0, 0)):
            x = tf.pad(x, [(0, 0), *atrous.padding, (0, 0)])
        build = v1.nn.conv2d if layer.type == "Conv2D" else v1.nn.depthwise_conv2d_native
        output = build(
            x, layer.inputs[1], strides=[1] * 4, padding=padding, dilations=[1, *atrous.rates, 1],
            name=layer.name.rpartition("/")[2],
        )  # fmt: skip
        dilated = output.op
        if atrous.squeeze is not None:
            output = duplicate(atrous.squeeze, [output]).outputs[0]
    old = atrous.back.outputs[0]
    output.set_shape(old.shape)
    replace_input(consumers(old), old, output)
    return dilated


def _is_plain(layer: tf.Operation) -> bool:
    """Returns whether the layer has no strides, dilations and padding of its own, and its channels last."""
    ones = all(list(layer.get_attr(name)) == [1, 1, 1, 1] for name in ("strides", "dilations"))
    return ones and layer.get_attr("data_format") == b"NHWC" and layer.get_attr("padding") == b"VALID"


def _reader(operation: tf.Operation) -> tf.Operation | None:
    readers = consumers(operation.outputs[0])
    return readers[0] if len(readers) == 1 else None


def _is_same(atrous: Atrous) -> bool:
    spans = [(int(size) - 1) * rate for size, rate in zip(atrous.layer.inputs[1].shape[:2], atrous.rates, strict=True)]
    return all((span // 2, span - span // 2) == ends for span, ends in zip(spans, atrous.padding, strict=True))
