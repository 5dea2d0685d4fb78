"""What the runtime computes in one step with an operation: the chain of its readers up to its activation.

Each function returns the tensor at the end of a part of the chain, and adds the part's operations to `fused`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import tensorflow as tf

from qatbuild.quantize.graph.layer_ops import ACTIVATION_TYPES, TRANSPOSED_TYPES, keeps_channels
from qatbuild.quantize.integer.path import DataPath


def through_identities(path: DataPath, tensor: tf.Tensor, fused: set[tf.Operation]) -> tf.Tensor:
    """Returns the tensor behind the Identity operations that are the only readers of `tensor`; they become `fused`."""
    reader = path.only_reader(tensor)
    while reader is not None and reader.type == "Identity" and reader not in path.folded:
        fused.add(reader)
        tensor = reader.outputs[0]
        reader = path.only_reader(tensor)
    return tensor


def through_moves(path: DataPath, tensor: tf.Tensor, fused: set[tf.Operation]) -> tf.Tensor:
    """Returns the tensor behind what only moves a layer's values, in front of its bias or activation.

    The BatchToSpaceND of an atrous convolution, and Identity operations, are a part of the layer whatever follows.
    """
    moves: list[tf.Operation] = []
    reader, end = path.only_reader(tensor), tensor
    while reader is not None and keeps_channels(reader) and reader not in path.folded:
        moves.append(reader)
        end = reader.outputs[0]
        reader = path.only_reader(end)
    if reader is None or not (reader.type in ACTIVATION_TYPES or adds_bias(path, reader)):
        while moves and moves[-1].type != "BatchToSpaceND" and any(each.type != "Identity" for each in moves):
            moves.pop()
    fused.update(moves)
    return moves[-1].outputs[0] if moves else tensor


def through_activation(
    path: DataPath, tensor: tf.Tensor, fused: set[tf.Operation], *, moved: bool = False
) -> tf.Tensor:
    """Returns the output of the ReLU or ReLU6 that is the only reader of `tensor`, else `tensor`.

    Identity operations may stand in between; with `moved` whatever only moves values within their channels.
    """
    between: set[tf.Operation] = set()
    reader = path.only_reader((through_moves if moved else through_identities)(path, tensor, between))
    if reader is None or reader.type not in ACTIVATION_TYPES:
        return tensor
    fused.update(between, {reader})
    return reader.outputs[0]


def through_layers_activation(
    path: DataPath, layer: tf.Operation, tensor: tf.Tensor, fused: set[tf.Operation]
) -> tuple[tf.Tensor, tf.Operation | None]:
    """Returns the tensor behind a layer's activation and what clips it, and the first operation that clips, or None."""
    # The converter leaves out a bias of zeros, and does not see a ReLU directly behind a transposed convolution: the
    # range has to clip.
    transposed = layer.type in TRANSPOSED_TYPES
    output = tensor if transposed else through_activation(path, tensor, fused, moved=True)
    return through_clip(path, output, fused, activations=transposed)


def through_clip(
    path: DataPath,
    tensor: tf.Tensor,
    fused: set[tf.Operation],
    first: tf.Operation | None = None,
    *,
    activations: bool = False,
) -> tuple[tf.Tensor, tf.Operation | None]:
    """Returns the tensor behind minima and maxima with constants, and the first of them; else `tensor` and None.

    They begin with `first`, or with the only reader of `tensor`, and clip to a range with 0, as a ReLU with a greatest
    value does. A range that is learnt from what they leave clips alike. With `activations` ReLUs count, too.
    """
    clips: list[tf.Operation] = []
    least, greatest, end = -math.inf, math.inf, tensor
    reader = first or path.only_reader(tensor)
    while reader is not None and (ends := limits(reader, end)) is not None:
        if reader.type in ACTIVATION_TYPES and not activations:
            break
        clips.append(reader)
        least, greatest = (min(max(each, ends[0]), ends[1]) for each in (least, greatest))
        end = reader.outputs[0]
        reader = path.only_reader(end)
    if not clips or not least <= 0 <= greatest or least == greatest:
        return tensor, None
    fused.update(clips)
    return end, clips[0]


def limits(operation: tf.Operation, value: tf.Tensor) -> tuple[float, float] | None:
    """Returns the least and greatest result of an operation that clips `value` to constant numbers, else None."""
    if operation.type in ACTIVATION_TYPES:
        return 0.0, math.inf if operation.type == "Relu" else 6.0
    if operation.type not in {"Maximum", "Minimum"}:
        return None
    numbers = [tf.get_static_value(each) for each in operation.inputs if each is not value]
    if len(numbers) != 1 or numbers[0] is None or numbers[0].size != 1:
        return None
    number = float(numbers[0].reshape(()))
    return (number, math.inf) if operation.type == "Maximum" else (-math.inf, number)


def adds_bias(path: DataPath, operation: tf.Operation) -> bool:
    """Returns whether an operation adds one constant to each channel."""
    if operation in path.folded or operation in path.unfolded or operation.type not in {"BiasAdd", "Add", "AddV2"}:
        return False
    channels = operation.outputs[0].shape[-1]
    added = list(constants(path, operation))
    return len(added) == 1 and channels is not None and added[0].shape.num_elements() in {1, channels}


def constants(path: DataPath, operation: tf.Operation) -> Iterator[tf.Tensor]:
    """Returns the float operands that do not depend on the network's input."""
    sources = {tensor.name for tensor in path.sources[operation]}
    return (tensor for tensor in operation.inputs if tensor.dtype.is_floating and tensor.name not in sources)
