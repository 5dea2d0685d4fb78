"""Products and sums with constants at a network's inputs, which can become a part of the layers that read them.

    layer(f x + s, W) + b  =  layer(x, f W) + (b + sum of s W)

Each channel may have a factor f and a shift s of its own: a scaling of images by channel, Normalization or Rescaling
at the beginning of a network. The factors are exact in any layer. The shifts are where the layer does not pad: padding
is 0 behind the sum, and of different values in front of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.quantize.graph.integer_ops import OPS
from qatbuild.quantize.graph.layer_ops import TRANSPOSED_TYPES, keeps_channels
from qatbuild.quantize.integer.fused_ops import is_noise
from qatbuild.quantize.integer.path import DataPath

_SAME = frozenset({"CheckNumerics", "EnsureShape", "Identity", "PlaceholderWithDefault", "PreventGradient", "Snapshot"})
_AFFINE = frozenset({"Add", "AddV2", "BiasAdd", "Mul", "RealDiv", "Sub"})
_RESHAPING = frozenset({"ExpandDims", "Reshape", "Squeeze"})

PADS = "it pads with zeros, which are another byte in each channel"
_MIXES = "it is not a layer with weights, and reads values that are not scaled yet"
_PLACES = "it has the same weights for places of different scaling"
NOISE = "it adds noise in training, in front of the first layer"


class Affine(NamedTuple):
    """y = factor x + shift; both are float64 [channels], or of the shape of an example."""

    factor: NDArray[np.float64]
    shift: NDArray[np.float64]

    @property
    def shifts(self) -> bool:
        """Whether it adds anything but zeros."""
        return bool(np.any(self.shift))

    def over(self, inner: tuple[int, ...]) -> Affine:
        """Returns it with an entry for each value of an example of this shape."""
        return Affine(*(np.broadcast_to(each, inner) for each in self))

    def by_channel(self, channels: int) -> Affine | None:
        """Returns it with an entry for each index of the last axis; None if the other axes matter."""
        rows = [each.reshape(-1, each.shape[-1]) if each.ndim else each.reshape(1, 1) for each in self]
        if any(np.any(each != each[0]) for each in rows):
            return None
        return Affine(*(np.broadcast_to(each[0], [channels]) for each in rows))


@dataclass
class ScaledInput:
    """`scaled` is an affine function of the input `source`, by operations with constants that nothing else reads.

    layers    the layers that read it, at first or behind operations that move values: layer -> function by channel (for
              a dense layer by value)
    noise     additions of random numbers in between: operation -> the factors of what is added to
    refused   operations that keep the function from becoming a part of the layers, and why
    """

    source: tf.Tensor
    scaled: tf.Tensor
    layers: dict[tf.Operation, Affine] = field(default_factory=dict)
    noise: dict[tf.Operation, NDArray[np.float64]] = field(default_factory=dict)
    refused: dict[tf.Operation, str] = field(default_factory=dict)


def scaled_inputs(path: DataPath) -> Iterator[ScaledInput]:
    """Yields the inputs with products or sums behind them, and what reads these."""
    for source in path.inputs:
        scaled, affine = _chain(path, source)
        if scaled.name != source.name:
            each = ScaledInput(source, scaled)
            _follow(path, scaled, affine, each)
            yield each


def _chain(path: DataPath, source: tf.Tensor) -> tuple[tf.Tensor, Affine]:
    """Returns the last tensor behind `source` that is an affine function of it, and the function."""
    value = end = source
    affine = Affine(np.ones(()), np.zeros(()))
    while (reader := path.only_reader(value)) is not None and not (reader in path.folded or reader in path.unfolded):
        step = None if is_noise(path, reader) or not _same_shape(reader.outputs[0], source) else _step(reader, value)
        if step is None:
            break
        value = reader.outputs[0]
        if reader.type not in _SAME:
            affine, end = Affine(affine.factor * step.factor, affine.shift * step.factor + step.shift), value
    return end, affine


def _step(operation: tf.Operation, value: tf.Tensor) -> Affine | None:
    """Returns what an operation computes of `value`; None if it is no affine function with constants."""
    places = [index for index, each in enumerate(operation.inputs) if each.name == value.name]
    if operation.type in _SAME:
        return Affine(np.ones(()), np.zeros(()))
    if operation.type not in _AFFINE or len(places) != 1:
        return None
    (place,) = places
    number = _entries(tf.get_static_value(operation.inputs[1 - place]), value)
    if number is None:
        return None
    one, zero = np.ones_like(number), np.zeros_like(number)
    if operation.type == "Sub":
        return Affine(one, -number) if place == 0 else Affine(-one, number)
    if operation.type not in {"Mul", "RealDiv"}:
        return Affine(one, number)
    if not np.all(number) or (operation.type == "RealDiv" and place):
        return None
    return Affine(number if operation.type == "Mul" else 1 / number, zero)


def _entries(constant: NDArray[np.float32] | None, value: tf.Tensor) -> NDArray[np.float64] | None:
    """Returns a constant operand of `value` as a number, by channel, or of an example's shape; None for any other."""
    if constant is None or value.shape.rank is None or not np.all(np.isfinite(constant)):
        return None
    number, inner = np.asarray(constant, np.float64), value.shape[1:].as_list()
    if number.size == 1:
        return number.reshape(())
    if number.ndim == value.shape.rank and number.shape[0] == 1:
        number = number[0]
    if number.size == number.shape[-1] == (inner[-1] if inner else None):
        return number.reshape(-1)
    return np.array(np.broadcast_to(number, inner)) if None not in inner and number.ndim <= len(inner) else None


def _same_shape(one: tf.Tensor, other: tf.Tensor) -> bool:
    return one.shape.rank is not None and other.shape.rank is not None and one.shape.as_list() == other.shape.as_list()


def _follow(path: DataPath, tensor: tf.Tensor, affine: Affine, into: ScaledInput) -> None:
    """Adds the readers of a tensor, whose values are scaled by `affine`, to `into`."""
    if tensor.name in path.end_names:
        into.refused[tensor.op] = "it is an output of the network"
    for reader in path.readers.get(tensor.name, ()):
        norm = path.folded.get(reader)
        layer = reader if norm is None else norm.layer
        if reader in path.unfolded:
            channels = tensor.shape[-1]
            if not path.unfolded[reader].standalone or channels is None or affine.by_channel(channels) is None:
                into.refused[reader] = _MIXES
        elif layer.type in OPS and OPS[layer.type].weights is not None:
            _add_layer(layer, affine, into)
        elif is_noise(path, reader):
            _add_noise(path, reader, affine, into)
        elif isinstance(moved := _moved(reader, tensor, affine), str):
            into.refused[reader] = moved
        else:
            _follow(path, reader.outputs[0], moved, into)


def _add_layer(layer: tf.Operation, affine: Affine, into: ScaledInput) -> None:
    channels = layer.inputs[OPS[layer.type].data].shape[-1] or _rows(layer)
    by_channel = None if channels is None else affine.by_channel(channels)
    if by_channel is None:
        into.refused[layer] = _PLACES
    elif by_channel.shifts and pads(layer):
        into.refused[layer] = PADS
    elif layer.type == "MatMul" and layer.get_attr("transpose_a"):
        into.refused[layer] = _MIXES
    else:
        into.layers[layer] = by_channel


def _add_noise(path: DataPath, reader: tf.Operation, affine: Affine, into: ScaledInput) -> None:
    """Goes on behind noise: what is added can be divided by the factors, what is multiplied leaves 0 where it is."""
    if reader in path.random and reader.type in {"Add", "AddV2"} and len(path.sources[reader]) == 1:
        into.noise[reader] = affine.factor
    elif affine.shifts:
        into.refused[reader] = NOISE
        return
    _follow(path, reader.outputs[0], affine, into)


def _moved(operation: tf.Operation, tensor: tf.Tensor, affine: Affine) -> Affine | str:
    """Returns the function behind an operation that only moves values, or why it cannot follow."""
    before, after = tensor.shape, operation.outputs[0].shape
    by_channel = None if before[-1] is None else affine.by_channel(before[-1])
    if operation.type in _SAME or (by_channel is not None and (keeps_channels(operation) or _makes_rows(operation))):
        return affine if by_channel is None else by_channel
    inner, result = before[1:], after[1:]
    if operation.type in _RESHAPING and inner.is_fully_defined() and result.is_fully_defined():
        if inner.num_elements() == result.num_elements():
            return Affine(*(each.reshape(result.as_list()) for each in affine.over(tuple(inner))))
    elif operation.type == "Transpose" and inner.is_fully_defined():
        axes = tf.get_static_value(operation.inputs[1])
        if axes is not None and axes[0] == 0:
            return Affine(*(each.transpose(axes[1:] - 1) for each in affine.over(tuple(inner))))
    elif by_channel is not None and operation.type in {"Pad", "SpaceToBatchND"}:
        zeros = tf.get_static_value(operation.inputs[-1])
        if operation.type == "Pad" and (zeros is None or np.any(zeros[-1])):
            return _MIXES
        return PADS if affine.shifts and (zeros is None or np.any(zeros)) else by_channel
    return _MIXES


def _makes_rows(operation: tf.Operation) -> bool:
    """Returns whether a Reshape makes rows of channels for dense layers, of a length that TensorFlow does not note."""
    channels, result = operation.inputs[0].shape[-1], operation.outputs[0]
    return operation.type == "Reshape" and {*map(_rows, result.consumers())} == {channels}


def _rows(layer: tf.Operation) -> int | None:
    """Returns how many values a dense layer takes, by its weights; None for any other operation."""
    if layer.type != "MatMul":
        return None
    rows: int | None = layer.inputs[1].shape[-1 if layer.get_attr("transpose_b") else 0]
    return rows


def pads(layer: tf.Operation) -> bool:
    """Returns whether a layer reads zeros beside its input, or not all of its places read as many values."""
    if layer.type == "MatMul":
        return False
    if layer.type in TRANSPOSED_TYPES:
        return True
    padding = layer.get_attr("padding")
    if padding == b"EXPLICIT":
        return any(layer.get_attr("explicit_paddings"))
    if padding == b"VALID":
        return False
    sizes, kernel = layer.inputs[0].shape[1:3], layer.inputs[1].shape[:2]
    strides, dilations = (list(layer.get_attr(name))[1:3] for name in ("strides", "dilations"))
    reaches = [(width - 1) * dilation + 1 for width, dilation in zip(kernel, dilations, strict=True)]
    return any(
        reach > 1 if size is None else (math.ceil(size / stride) - 1) * stride + reach > size
        for size, reach, stride in zip(sizes, reaches, strides, strict=True)
    )
