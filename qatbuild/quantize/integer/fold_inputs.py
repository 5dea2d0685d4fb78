"""Folds products and sums at a network's inputs into the layers that read them: see scaled_inputs.

The runtime rounds the products of bytes and quantized weights nowhere, so the folded layer has one rounding less than
an operation of its own for the scaling would make. The sum of s W is a constant that the layer adds with its bias. It
is that of the quantized weights Q, for then

    layer(x, Q) + b + sum of s / f Q  =  layer(x + s / f, Q) + b

and what is rounded of the weights is multiplied by values around 0, as without the folding, and not by bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.quantize.graph.integer_ops import OPS, SCALING
from qatbuild.quantize.graph.layer_ops import TRANSPOSED_TYPES, keeps_channels
from qatbuild.quantize.graph.names import parent_scope, tensor_name
from qatbuild.quantize.graph.refusals import UnsupportedOp
from qatbuild.quantize.graph.rewire import replace_input
from qatbuild.quantize.graph.walk import SHAPE_OPS, consumers, reachable, readers
from qatbuild.quantize.integer.path import DataPath
from qatbuild.quantize.integer.scaled_inputs import NOISE, Affine, ScaledInput, scaled_inputs

v1 = tf.compat.v1

_HINT = (
    'write "input": {"mean": 0, "std_dev": 1}, and begin the network with '
    "keras.layers.Normalization(mean=[...], variance=[...]), the variance of a channel being the square of its std_dev"
)
_NOISE_HINT = "put the noise (dropout) behind the first layer"


class Offset(NamedTuple):
    """What a layer adds for the shifts of its input: the sum of `steps` times its weights.

    steps    s / f along the weights, float64
    axes     the axes of the weights that are summed, which leaves the output channels
    product  the operation that reads the weights
    """

    steps: NDArray[np.float64]
    axes: tuple[int, ...]
    product: tf.Operation

    def of(self, weights: tf.Tensor) -> tf.Tensor:
        """Adds the sum for weights, scaled by f, to the graph: float32 [output channels]."""
        return _sum(tf.multiply(weights, tf.constant(self.steps, tf.float32)), self.axes)


def unsupported(path: DataPath, wanted: Iterable[str], hints: Mapping[str, str]) -> list[UnsupportedOp]:
    """Returns what keeps the scalings of the `wanted` inputs out of the layers that read them.

    For the other inputs it is noise alone: without it the inference graph has the scaling in its layers.
    """
    names = {tensor_name(each) for each in wanted}
    listed = []
    for each in scaled_inputs(path):
        for operation, why in each.refused.items():
            if each.source.name in names or {*each.refused.values()} == {NOISE}:
                hint = _NOISE_HINT if why == NOISE else hints.get(SCALING, _HINT)
                listed.append(UnsupportedOp(path.layer(operation), SCALING, _why(why), operation, hint=hint))
    return listed


def foldable(path: DataPath) -> frozenset[str]:
    """Returns the names of the inputs whose products and sums become a part of the layers."""
    return frozenset(str(each.source.name) for each in scaled_inputs(path) if not each.refused)


def fold_inputs(path: DataPath, names: frozenset[str]) -> tuple[dict[tf.Operation, Offset], dict[str, str]]:
    """Folds the products and sums of the named inputs, in place.

    Returns the offsets of layers that have one, and the new names of ends by the old.
    """
    offsets: dict[tf.Operation, Offset] = {}
    renamed: dict[str, str] = {}
    dependent = reachable([each.op for each in path.inputs], _value_readers)
    for each in [one for one in scaled_inputs(path) if one.source.name in names]:
        assert not each.refused
        _scale_noise(each, dependent)
        for layer, affine in each.layers.items():
            scope = parent_scope(layer.name)
            with v1.name_scope(f"{scope}/" if scope else None), v1.name_scope("input_scaling"):
                _scale_weights(layer, affine.factor)
                if affine.shifts:
                    offsets[layer], total = _offset(layer, affine)
                    renamed |= _add_bias(layer, total, path.end_names, dependent)
        replace_input(consumers(each.scaled), each.scaled, each.source)
    return offsets, renamed


def _value_readers(operation: tf.Operation) -> list[tf.Operation]:
    return [each for each in readers(operation) if each.type not in SHAPE_OPS]


def _why(why: str) -> str:
    return why if why == NOISE else f"the scaling by channel of the input cannot become a part of it: {why}"


def _scale_noise(each: ScaledInput, dependent: set[tf.Operation]) -> None:
    for operation, factors in each.noise.items():
        (noise,) = (operand for operand in operation.inputs if operand.op not in dependent)
        replace_input([operation], noise, tf.divide(noise, tf.constant(factors, tf.float32)))


def _scale_weights(layer: tf.Operation, factors: NDArray[np.float64]) -> None:
    if np.any(factors != 1):
        weights = _weights(layer)
        along = tf.constant(_along_weights(factors, layer), tf.float32, name="factors")
        replace_input([layer], weights, tf.multiply(weights, along, name="weights"))


def _offset(layer: tf.Operation, affine: Affine) -> tuple[Offset, tf.Tensor]:
    """Returns the sum of shifts and weights of a layer, whose weights are scaled."""
    steps = _along_weights(affine.shift / affine.factor, layer)
    product = tf.multiply(_weights(layer), tf.constant(steps, tf.float32, name="steps"), name="offsets")
    offset = Offset(steps, _summed_axes(layer), product.op)
    return offset, _sum(product, offset.axes)


def _add_bias(
    layer: tf.Operation, total: tf.Tensor, ends: Collection[str], dependent: set[tf.Operation]
) -> dict[str, str]:
    """Lets a layer add a vector with its bias, or as its bias; returns the new name of its output if that is an end."""
    output = layer.outputs[0]
    while [each.type for each in consumers(output)] == ["BatchToSpaceND"]:  # the end of an atrous convolution
        output = consumers(output)[0].outputs[0]
    reader, value = _behind_moves(output, ends)
    bias = None if reader is None else _bias(reader, value, dependent)
    if reader is None or bias is None:
        following = consumers(output)
        biased = tf.nn.bias_add(output, total, name="offset")
        replace_input(following, output, biased)
        return {output.name: biased.name} if output.name in ends else {}
    added = tf.add(tf.reshape(bias, [-1]), total, name="bias")
    replace_input([reader], bias, added if bias.shape.rank == 1 else tf.reshape(added, bias.shape))
    return {}


def _behind_moves(output: tf.Tensor, ends: Collection[str]) -> tuple[tf.Operation | None, tf.Tensor]:
    """Returns the only reader of a layer's output, behind what only moves values; and what it reads."""
    while output.name not in ends and len(following := consumers(output)) == 1:
        if not keeps_channels(following[0]):
            return following[0], output
        output = following[0].outputs[0]
    return None, output


def _bias(operation: tf.Operation, value: tf.Tensor, dependent: set[tf.Operation]) -> tf.Tensor | None:
    """Returns the constant by channel that an operation adds to `value`; None if it does something else."""
    others = [each for each in operation.inputs if each.name != value.name]
    if operation.type not in {"Add", "AddV2", "BiasAdd"} or len(others) != 1 or others[0].op in dependent:
        return None
    channels, bias = value.shape[-1], others[0]
    by_channel = channels is not None and bias.shape.num_elements() == channels == bias.shape[-1]
    return bias if by_channel else None


def _weights(layer: tf.Operation) -> tf.Tensor:
    return layer.inputs[OPS[layer.type].weights]


def _sum(products: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    return tf.reshape(tf.reduce_sum(products, axes), [-1])


def _summed_axes(layer: tf.Operation) -> tuple[int, ...]:
    if layer.type == "MatMul":
        return (1,) if layer.get_attr("transpose_b") else (0,)
    return (0, 1) if layer.type == "DepthwiseConv2dNative" else (0, 1, 2)


def _along_weights(values: NDArray[np.float64], layer: tf.Operation) -> NDArray[np.float64]:
    """Returns a value for each input channel (of a dense layer for each input) so that it broadcasts to the weights."""
    if layer.type == "MatMul":
        return values[None, :] if layer.get_attr("transpose_b") else values[:, None]
    if layer.type in TRANSPOSED_TYPES:
        return values
    if layer.type == "DepthwiseConv2dNative":
        return values[:, None]
    inputs, outputs = _weights(layer).shape[2:]
    groups = len(values) // inputs
    return np.repeat(values.reshape(groups, inputs).T, outputs // groups, axis=1) if groups > 1 else values[:, None]
