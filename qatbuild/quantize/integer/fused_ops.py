"""The operations of the integer runtime: a network read as fused ops, each with the origin of its output's scale.

A convolution, its bias and its activation are one fused op. Its range belongs to the output; nothing inside is rounded.
An operation that is not a part of any fused op would be computed in float and is returned as an UnsupportedOp.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable
from qatbuild.quantize.graph.atrous import atrous_of
from qatbuild.quantize.graph.hard_swish import hard_swish_input
from qatbuild.quantize.graph.integer_ops import (
    ATROUS,
    CHANNELS_FIRST,
    DILATED_TRANSPOSED,
    EXPLICIT_POOL,
    OPS,
    POOLED_CHANNELS,
    POOLS,
    SPLITS,
    UNREAD_PARTS,
    Scale,
    kind,
    reason,
)
from qatbuild.quantize.graph.layer_ops import TRANSPOSED_TYPES, keeps_channels
from qatbuild.quantize.graph.refusals import UnsupportedOp
from qatbuild.quantize.graph.walk import reachable, readers
from qatbuild.quantize.integer.chains import (
    adds_bias,
    constants,
    through_activation,
    through_clip,
    through_layers_activation,
    through_moves,
)
from qatbuild.quantize.integer.path import DataPath
from qatbuild.quantize.integer.prelu import prelu_of


@dataclass(frozen=True)
class FusedOp:
    """One operation of the integer runtime.

    layer       name of its layer within the network
    operation   the first operation of those that are fused
    scale       origin of its output's scale: see integer_ops.Scale
    sources     the tensors from which it reads the network's values
    output      its result, behind bias, batch norm and activation
    role        name of its output's FakeQuant, '' if it needs none
    operands    constant inputs that need ranges of their own
    weights_op  the operation that reads its weights, for a layer
    bias        the bias that it adds, float32 [channels], or None
    norm        the batch norm that becomes a part of it, or None
    slope       the slopes of a PReLU, which the converter rounds by a range of its own, or None
    inner       the operations of a PReLU
    clip        the first of the minima and maxima with constants at its end, which its range makes superfluous, or None
    """

    layer: str
    operation: tf.Operation
    scale: Scale
    sources: tuple[tf.Tensor, ...]
    output: tf.Tensor
    role: str = ""
    operands: tuple[tf.Tensor, ...] = ()
    weights_op: tf.Operation | None = None
    bias: tf.Tensor | None = None
    norm: BatchNorm | Unfoldable | None = None
    slope: tf.Tensor | None = None
    inner: frozenset[tf.Operation] = frozenset()
    clip: tf.Operation | None = None

    @property
    def is_layer(self) -> bool:
        """Whether it has weights."""
        return self.weights_op is not None or self.norm is not None


def read(path: DataPath, *, training: bool) -> tuple[list[FusedOp], list[UnsupportedOp]]:
    """Returns the fused ops of a path in order of execution, and its unsupported operations.

    In a training graph dropout or noise counts as an operation that only moves values.
    """
    ops: list[FusedOp] = []
    unsupported: list[UnsupportedOp] = []
    fused: set[tf.Operation] = set()
    for operation in path.operations:
        if operation not in fused:
            op = _fused_op(path, operation, fused, training=training)
            if isinstance(op, UnsupportedOp):
                unsupported.append(op)
            else:
                ops.append(op)
    return ops, unsupported


def _fused_op(
    path: DataPath, operation: tf.Operation, fused: set[tf.Operation], *, training: bool
) -> FusedOp | UnsupportedOp:
    """Returns the fused op that begins with `operation`; the other operations in it are added to `fused`."""
    layer, sources, output = path.layer(operation), path.sources[operation], operation.outputs[0]
    if operation in path.folded or operation in path.unfolded:
        return _normalized(path, operation, fused)
    if is_noise(path, operation):
        if not training:
            return UnsupportedOp(layer, "Dropout", reason("Dropout"), operation)
        return FusedOp(layer, operation, "same_scale", sources, output)
    composed = _composed(path, operation, fused)
    if composed is not None:
        return composed
    why = _why_unsupported(path, operation)
    if why:
        return UnsupportedOp(layer, kind(operation), why, operation)
    row = OPS[operation.type]
    if row.weights is not None:
        return _layer(path, operation, fused)
    operands: tuple[tf.Tensor, ...] = ()
    clip = None
    if row.elementwise:
        output, clip = through_clip(path, through_activation(path, output, fused), fused)
        # One number is the end of its own range, and so exact. Of several numbers only the ends are.
        operands = tuple(each for each in constants(path, operation) if each.shape.num_elements() != 1)
    role = f"{_snake_case(operation.type)}_quant"
    scale = "own_scale" if _averages(operation) else row.scale
    return FusedOp(layer, operation, scale, sources, output, role, operands, clip=clip)


def _averages(operation: tf.Operation) -> bool:
    """Returns whether an operation is a mean of several values, which its kernel rounds to any range.

    In the range of its input a quarter of the means of 2 x 2 values lie halfway between two quantized values, and each
    set of kernels rounds halves another way. Its own range has finer steps, and hardly a half. The converter leaves out
    a mean of one value, and with it one of the two ranges; the kernel of an average pool has one range only.
    """
    if operation.type != "Mean":
        return False
    counts = (each.shape[1:].num_elements() for each in (operation.inputs[0], operation.outputs[0]))
    return len(set(counts)) > 1


def _composed(path: DataPath, operation: tf.Operation, fused: set[tf.Operation]) -> FusedOp | None:
    """Returns the op of an activation that the graph composes of several operations, which `operation` ends."""
    layer, sources, output = path.layer(operation), path.sources[operation], operation.outputs[0]
    if hard_swish_input(operation) is not None:
        return FusedOp(layer, operation, "own_scale", sources, output, "hard_swish_quant")
    prelu = prelu_of(operation)
    if prelu is not None:
        slope, inner = prelu.slope, prelu.operations
        return FusedOp(layer, operation, "own_scale", sources, output, "prelu_quant", slope=slope, inner=inner)
    if operation.type in {"Maximum", "Minimum"} and len(sources) == 1:
        output, clip = through_clip(path, sources[0], fused, operation)
        if clip is not None:
            return FusedOp(layer, operation, "own_scale", sources, output, "clip_quant", clip=clip)
    return None


def _layer(path: DataPath, operation: tf.Operation, fused: set[tf.Operation]) -> FusedOp:
    """Returns a layer with the addition of its bias and its activation."""
    output = through_moves(path, operation.outputs[0], fused)
    reader, bias = path.only_reader(output), None
    if reader is not None and adds_bias(path, reader):
        fused.add(reader)
        (bias,) = constants(path, reader)
        output = reader.outputs[0]
    output, clip = through_layers_activation(path, operation, output, fused)
    return FusedOp(
        layer=path.layer(operation),
        operation=operation,
        scale="own_scale",
        sources=path.sources[operation],
        output=output,
        role="act_quant",
        weights_op=operation,
        bias=bias,
        clip=clip,
    )


def _normalized(path: DataPath, operation: tf.Operation, fused: set[tf.Operation]) -> FusedOp | UnsupportedOp:
    """Returns a layer with its batch norm, or a standalone batch norm, which becomes a layer."""
    norm = path.folded.get(operation) or path.unfolded[operation]
    if isinstance(norm, BatchNorm):
        result, first = norm.result, norm.layer
        if any(each.type == "BatchToSpaceND" for each in norm.between) and atrous_of(first) is None:
            return UnsupportedOp(path.layer(first), kind(first), ATROUS, first)
        if why := _why_form(first):
            return UnsupportedOp(path.layer(first), kind(first), why, first)
    else:
        result, first = norm.operation.outputs[0], norm.operation
        why = norm.why
        if norm.standalone:
            why = "" if _has_channels(norm.x) else f"{norm.why}, and its number of channels is unknown"
        if why:
            return UnsupportedOp(path.layer(first), "BatchNorm", f"{why}; {reason('BatchNorm')}", first)
    output, clip = through_layers_activation(path, first, result, fused)
    return FusedOp(
        layer=path.layer(first),
        operation=first,
        scale="own_scale",
        sources=path.sources[operation],
        output=output,
        role="act_quant",
        weights_op=first if isinstance(norm, BatchNorm) else None,
        norm=norm,
        clip=clip,
    )


def _why_unsupported(path: DataPath, operation: tf.Operation) -> str:
    """Returns why an operation cannot be computed in integers, '' if it can."""
    name = kind(operation)
    row = OPS.get(operation.type)
    if name != operation.type or row is None:
        return reason(name)
    if why := _why_form(operation):
        return why
    unread = [each for each in operation.outputs if each.name not in path.readers and each.name not in path.end_names]
    if operation.type in SPLITS and unread:
        return UNREAD_PARTS
    if row.weights is not None and (why := _why_no_layer(path, operation, row.weights)):
        return why
    return _why_operands(path, operation)


def _why_form(operation: tf.Operation) -> str:
    """Returns why an operation cannot be computed with its attributes, '' if it can."""
    attributes = operation.node_def.attr
    if attributes["data_format"].s == b"NCHW":
        return CHANNELS_FIRST
    if operation.type in TRANSPOSED_TYPES and set(attributes["dilations"].list.i) - {1}:
        return DILATED_TRANSPOSED
    if operation.type in POOLS:
        if attributes["padding"].s == b"EXPLICIT":
            return EXPLICIT_POOL
        sizes = [*attributes["ksize"].list.i, *attributes["strides"].list.i]
        if {sizes[0], sizes[3], sizes[4], sizes[7]} != {1}:
            return POOLED_CHANNELS
    return ""


def _why_operands(path: DataPath, operation: tf.Operation) -> str:
    """Returns why an operation cannot be computed with its operands beside the network's values, '' if it can."""
    sources = path.sources[operation]
    if any(_depends_on_batch(each) for each in constants(path, operation)):
        return "one of its operands is computed from the size of the batch, which no constant is"
    if operation.type in {"Maximum", "Minimum"} and len(sources) < 2:  # noqa: PLR2004 - the other one is a constant
        return reason(operation.type)
    if operation.type == "Pow" and tf.get_static_value(operation.inputs[1]) != 2:  # noqa: PLR2004 - a square
        return "only the second power has an integer form"
    if operation.type == "RealDiv" and not (
        len(sources) == 1 and sources[0] is operation.inputs[0] and operation.inputs[1].op.type == "Const"
    ):
        return "division by anything but a constant is computed in float"
    return ""


def _why_no_layer(path: DataPath, operation: tf.Operation, weights: int) -> str:
    sources = path.sources[operation]
    if atrous_of(operation) is None and _is_in_blocks(path, operation):
        return ATROUS
    if not sources:
        return "the network's values are its weights: they must be the other operand"
    if operation.inputs[weights].name in {tensor.name for tensor in sources}:
        return "both its operands are the network's values"
    return ""


def _is_in_blocks(path: DataPath, layer: tf.Operation) -> bool:
    """Returns whether a BatchToSpaceND reads the layer's output, directly or behind what only moves its values."""
    moves = reachable(
        path.readers.get(layer.outputs[0].name, ()), lambda each: readers(each) if keeps_channels(each) else ()
    )
    return any(each.type == "BatchToSpaceND" for each in moves)


def is_noise(path: DataPath, operation: tf.Operation) -> bool:
    """Returns whether an operation adds random numbers, or only scales the input of one that does (dropout)."""
    if operation in path.random:
        return True
    following = path.readers.get(operation.outputs[0].name, ())
    scales = operation.type in {"Mul", "RealDiv"} and len(path.sources[operation]) == 1
    return scales and bool(following) and all(each in path.random for each in following)


def _depends_on_batch(tensor: tf.Tensor) -> bool:
    """Returns whether a value has a first dimension that is not known: zeros for each image, for instance."""
    return bool(tensor.shape.rank) and tensor.shape[0] is None


def _has_channels(x: tf.Tensor | None) -> bool:
    return x is not None and bool(x.shape.rank) and x.shape[1:].is_fully_defined()


def _snake_case(name: str) -> str:
    """Returns "leaky_relu" for "LeakyRelu", "add" for "AddV2"."""
    letters = "".join(f"_{each.lower()}" if each.isupper() else each for each in name.removesuffix("V2"))
    return letters.lstrip("_")
