"""Networks in the converter's spelling: what the runtime computes in one step stands side by side.

    SpaceToBatchND, Conv2D, BatchToSpaceND       ->  Conv2D with dilations
    Conv2D, Squeeze, bias, batch norm, ReLU      ->  Conv2D, bias, batch norm, ReLU, Squeeze
    relu(x) - slope relu(-x)                     ->  relu(x) + (-slope) relu(-x)
    x^2                                          ->  x * x
    Conv2D + 1                                   ->  Conv2D, BiasAdd of a vector
    sigmoid(x * 1), of tf.nn.silu                ->  sigmoid(x)
    x + 0, x * 1, -x, x * -1                     ->  x * 0.99999994, x * -0.99999994

The values are the same. The first two are for inference only: a training's batch norm takes its statistics from its own
input.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qatbuild.quantize.graph.atrous import as_one_layer, atrous_of
from qatbuild.quantize.graph.integer_ops import OPS
from qatbuild.quantize.graph.layer_ops import ACTIVATION_TYPES, keeps_channels, vector_of
from qatbuild.quantize.graph.names import parent_scope
from qatbuild.quantize.graph.rewire import duplicate, replace_input
from qatbuild.quantize.graph.walk import consumers, reachable, readers
from qatbuild.quantize.integer.chains import limits
from qatbuild.quantize.integer.path import DataPath
from qatbuild.quantize.integer.prelu import is_spelled, prelu_of, spelled

v1 = tf.compat.v1

_ALMOST_ONE = float(np.nextafter(np.float32(1), np.float32(0)))
_CHANNELWISE = frozenset({"Add", "AddV2", "BiasAdd", "Mul", "Sub"})


def spell(path: DataPath, *, training: bool) -> dict[str, str]:
    """Writes a path's operations in the converter's spelling, in place; returns the new names of ends by the old."""
    dependent = reachable([each.op for each in path.inputs], readers)
    for layer in [] if training else _layers(path):
        atrous = atrous_of(layer)
        _move_behind(layer if atrous is None else as_one_layer(atrous), path.end_names, dependent)

    respelled = ((each.outputs[0], _respelled(each, path)) for each in path.operations)
    renamed: dict[str, str] = {}
    for old, new in respelled:
        if new is not None:
            replace_input(consumers(old), old, new)
            renamed[old.name] = new.name
    return {old: new for old, new in renamed.items() if old in path.end_names}


def requantizable(tensor: tf.Tensor, sign: int = 1) -> tf.Tensor:
    """Returns a tensor of the same values, or with `sign` -1 of the negative ones, that can have another range.

    It is the product with almost 1. Of two FakeQuants in a row the converter leaves one out, also if a multiplication
    by 1 is between them, and it makes a multiplication by -1 a NEG, which is computed in float.
    """
    return tf.multiply(tensor, sign * _ALMOST_ONE, name="requantizable")


def _respelled(operation: tf.Operation, path: DataPath) -> tf.Tensor | None:
    """Returns the output of one operation of the path in the converter's spelling, None if it has it.

    An end that nothing reads keeps its operation: it is the network's result.
    """
    old = operation.outputs[0]
    if (old.name in path.end_names and not old.consumers()) or len(path.sources[operation]) != 1:
        return None
    # Not the path's source: its own operation may have been written anew.
    value = next(each for each in operation.inputs if tf.get_static_value(each) is None)
    scope = parent_scope(operation.name)
    with v1.name_scope(f"{scope}/" if scope else None):
        prelu = prelu_of(operation)
        if prelu is not None and not is_spelled(prelu):
            return spelled(prelu)
        if sign := _sign(operation, value):
            return tf.identity(value) if sign == 1 and _is_beta_of_silu(operation) else requantizable(value, sign)
        if operation.type in {"Square", "Pow"}:
            return tf.multiply(value, value)
        if _is_bias_of_one_number(operation, value):
            (number,) = (each for each in operation.inputs if each is not value)
            return tf.nn.bias_add(value, tf.fill([value.shape[-1]], tf.reshape(number, [])))
    return None


def _is_bias_of_one_number(operation: tf.Operation, value: tf.Tensor) -> bool:
    """Returns whether an operation adds one number directly behind a layer, where each channel rounds its own."""
    numbers = [each for each in operation.inputs if each is not value]
    if operation.type not in {"Add", "AddV2"} or [each.shape.num_elements() for each in numbers] != [1]:
        return False
    layer = value.op
    while keeps_channels(layer):
        layer = layer.inputs[0].op
    return layer.type in OPS and OPS[layer.type].weights is not None


def _is_beta_of_silu(operation: tf.Operation) -> bool:
    """Returns whether an operation is the product with beta in x sigmoid(beta x), which needs no range of its own."""
    return operation.type == "Mul" and {each.type for each in consumers(operation.outputs[0])} == {"Sigmoid"}


def _sign(operation: tf.Operation, value: tf.Tensor) -> int:
    """Returns 1 for an operation that leaves `value` as it is, -1 for one that negates it, 0 for any other."""
    if operation.type == "Neg":
        return -1
    first = operation.inputs[0] is value
    others = [each for each in operation.inputs if each is not value]
    number = tf.get_static_value(others[0]) if len(others) == 1 else None
    if number is None or number.size != 1:
        return 0
    if operation.type == "Mul" or (operation.type == "RealDiv" and first):
        return int(number) if abs(number) == 1 else 0
    if operation.type in {"Add", "AddV2", "Sub"} and number == 0:
        return 1 if first or operation.type != "Sub" else -1
    return 0


def _layers(path: DataPath) -> list[tf.Operation]:
    """Returns the operations with weights, those of folded batch norms included, in order of execution."""
    layers = [path.folded[each].layer if each in path.folded else each for each in path.operations]
    return [each for each in dict.fromkeys(layers) if each.type in OPS and OPS[each.type].weights is not None]


def _move_behind(layer: tf.Operation, ends: Collection[str], dependent: set[tf.Operation]) -> None:
    """Moves what only moves a layer's values behind its bias, batch norm, activation and what clips.

    An end keeps its operation: nothing moves behind it.
    """
    chain: list[_Link] = []
    output = layer.outputs[0]
    activated = False
    while True:
        following = consumers(output)
        if len(following) != 1 or following[0].outputs[0].name in ends:
            break
        # As in through_clip: what clips stands directly behind a bias or an activation.
        behind = bool(chain) and not keeps_channels(chain[-1].operation)
        clips = behind and following[0].type in {"Maximum", "Minimum"} and limits(following[0], output) is not None
        if not clips and (
            activated or not (keeps_channels(following[0]) or _is_channelwise(following[0], output, dependent))
        ):
            break
        activated = activated or following[0].type in ACTIVATION_TYPES
        chain.append(_Link(following[0], output))
        output = following[0].outputs[0]
    while chain and keeps_channels(chain[-1].operation):
        chain.pop()
    moves = [each for each in chain if keeps_channels(each.operation)]
    if all(each.operation.type == "Identity" for each in moves):
        return
    old, new = chain[-1].operation.outputs[0], layer.outputs[0]
    for each in (each for each in chain if each not in moves):
        new = _again(each, new)
    for each in moves:
        new = _again(each, new)
        new.set_shape(each.operation.outputs[0].shape)  # that TensorFlow may not find: tf.tensordot sets it, too
    replace_input(consumers(old), old, new)


class _Link(NamedTuple):
    """An operation of a chain, and its input from the chain."""

    operation: tf.Operation
    value: tf.Tensor


def _is_channelwise(operation: tf.Operation, tensor: tf.Tensor, dependent: set[tf.Operation]) -> bool:
    """Returns whether the operation treats each value of `tensor` by its channel alone."""
    if operation.type in ACTIVATION_TYPES:
        return True
    if operation.type not in _CHANNELWISE:
        return False
    others = [each for each in operation.inputs if each is not tensor]
    channels = tensor.shape[-1]
    return len(others) == 1 and others[0].op not in dependent and _is_vector(others[0], channels)


def _is_vector(tensor: tf.Tensor, channels: int) -> bool:
    count = tensor.shape.num_elements()
    return count == 1 or (count == channels and tensor.shape[-1] == channels)


def _again(link: _Link, value: tf.Tensor) -> tf.Tensor:
    """Returns the output of a copy of the link's operation that reads another value of the same channels."""

    def fitting(operand: tf.Tensor) -> tf.Tensor:
        if operand is link.value:
            return value
        too_many = operand.dtype.is_floating and operand.shape.rank > value.shape.rank
        return tf.reshape(vector_of(operand), [-1]) if too_many else operand

    scope = parent_scope(link.operation.name)
    with v1.name_scope(f"{scope}/" if scope else None):
        inputs = [fitting(each) for each in link.operation.inputs]
        copy: tf.Tensor = duplicate(link.operation, inputs).outputs[0]
        return copy
