"""The operations of the integer runtime: a network read as fused ops, each with the origin of its output's scale.

A convolution, its bias and its activation are one fused op. Its range belongs to the output; nothing inside is rounded.
An operation that is not a part of any fused op would be computed in float and is returned as an UnsupportedOp.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable
from qatbuild.quantize.graph.integer_ops import OPS, SPLITS, UNREAD_PARTS, Scale, kind, reason
from qatbuild.quantize.graph.layer_ops import ACTIVATION_TYPES
from qatbuild.quantize.graph.refusals import UnsupportedOp
from qatbuild.quantize.integer.hard_swish import hard_swish_input
from qatbuild.quantize.integer.path import DataPath

_ATROUS = "between SpaceToBatchND and BatchToSpaceND the converter computes it in float for a batch of any size"


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

    @property
    def is_layer(self) -> bool:
        """Whether it has weights."""
        return self.weights_op is not None or self.norm is not None


def read(path: DataPath, *, training: bool) -> tuple[list[FusedOp], list[UnsupportedOp]]:
    """Return the fused ops of a path in order of execution, and its unsupported operations.

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
    """Return the fused op that begins with `operation`; the other operations in it are added to `fused`."""
    layer, sources, output = path.layer(operation), path.sources[operation], operation.outputs[0]
    if operation in path.folded or operation in path.unfolded:
        return _normalized(path, operation, fused)
    if _is_noise(path, operation):
        if not training:
            return UnsupportedOp(layer, "Dropout", reason("Dropout"), operation)
        return FusedOp(layer, operation, "same_scale", sources, output)
    if hard_swish_input(operation) is not None:
        return FusedOp(layer, operation, "own_scale", sources, output, "hard_swish_quant")
    why = _why_unsupported(path, operation)
    if why:
        return UnsupportedOp(layer, kind(operation), why, operation)
    row = OPS[operation.type]
    if row.weights is not None:
        return _layer(path, operation, fused)
    operands: tuple[tf.Tensor, ...] = ()
    if row.elementwise:
        output = _through_activation(path, output, fused)
        # One number is the end of its own range, and so exact. Of several numbers only the ends are.
        operands = tuple(each for each in _constants(path, operation) if each.shape.num_elements() != 1)
    return FusedOp(layer, operation, row.scale, sources, output, f"{_snake_case(operation.type)}_quant", operands)


def _layer(path: DataPath, operation: tf.Operation, fused: set[tf.Operation]) -> FusedOp:
    """Return a layer with the addition of its bias and its activation."""
    output = _through_identities(path, operation.outputs[0], fused)
    reader, bias = path.only_reader(output), None
    if reader is not None and _adds_bias(path, reader):
        fused.add(reader)
        (bias,) = _constants(path, reader)
        output = reader.outputs[0]
    return FusedOp(
        layer=path.layer(operation),
        operation=operation,
        scale="own_scale",
        sources=path.sources[operation],
        output=_through_activation(path, output, fused),
        role="act_quant",
        weights_op=operation,
        bias=bias,
    )


def _normalized(path: DataPath, operation: tf.Operation, fused: set[tf.Operation]) -> FusedOp | UnsupportedOp:
    """Return a layer with its batch norm, or a standalone batch norm, which becomes a layer."""
    norm = path.folded.get(operation) or path.unfolded[operation]
    if isinstance(norm, BatchNorm):
        result, first = norm.result, norm.layer
        if any(each.type == "BatchToSpaceND" for each in norm.between):
            return UnsupportedOp(path.layer(first), kind(first), _ATROUS, first)
    else:
        result, first = norm.operation.outputs[0], norm.operation
        why = norm.why
        if norm.standalone:
            why = "" if _has_channels(norm.x) else f"{norm.why}, and it has no 4 dimensions"
        if why:
            return UnsupportedOp(path.layer(first), "BatchNorm", f"{why}; {reason('BatchNorm')}", first)
    return FusedOp(
        layer=path.layer(first),
        operation=first,
        scale="own_scale",
        sources=path.sources[operation],
        output=_through_activation(path, result, fused),
        role="act_quant",
        weights_op=first if isinstance(norm, BatchNorm) else None,
        norm=norm,
    )


def _why_unsupported(path: DataPath, operation: tf.Operation) -> str:
    """Return why an operation cannot be computed in integers, '' if it can."""
    name = kind(operation)
    row = OPS.get(operation.type)
    if name != operation.type or row is None:
        return reason(name)
    if operation.node_def.attr["data_format"].s == b"NCHW":
        return "it has its channels first (NCHW)"
    sources = path.sources[operation]
    unread = [each for each in operation.outputs if each.name not in path.readers and each is not path.logits]
    if operation.type in SPLITS and unread:
        return UNREAD_PARTS
    if row.weights is not None:
        if any(each.type == "BatchToSpaceND" for each in path.readers.get(operation.outputs[0].name, ())):
            return _ATROUS
        if not sources:
            return "the network's values are its weights: they must be the other operand"
        if operation.inputs[row.weights].name in {tensor.name for tensor in sources}:
            return "both its operands are the network's values"
    if operation.type in {"Maximum", "Minimum"} and len(sources) < 2:  # noqa: PLR2004 - the other one is a constant
        return f"it has no integer kernel that compares with a constant; {reason(name)}"
    if operation.type == "RealDiv" and not (
        len(sources) == 1 and sources[0] is operation.inputs[0] and operation.inputs[1].op.type == "Const"
    ):
        return "division by anything but a constant is computed in float"
    return ""


def _is_noise(path: DataPath, operation: tf.Operation) -> bool:
    """Return whether an operation adds random numbers, or only scales the input of one that does (dropout)."""
    if operation in path.random:
        return True
    readers = path.readers.get(operation.outputs[0].name, ())
    scales = operation.type in {"Mul", "RealDiv"} and len(path.sources[operation]) == 1
    return scales and bool(readers) and all(each in path.random for each in readers)


def _through_identities(path: DataPath, tensor: tf.Tensor, fused: set[tf.Operation]) -> tf.Tensor:
    """Return the tensor behind the Identity operations that are the only readers of `tensor`; they become `fused`."""
    reader = path.only_reader(tensor)
    while reader is not None and reader.type == "Identity" and reader not in path.folded:
        fused.add(reader)
        tensor = reader.outputs[0]
        reader = path.only_reader(tensor)
    return tensor


def _through_activation(path: DataPath, tensor: tf.Tensor, fused: set[tf.Operation]) -> tf.Tensor:
    """Return the output of the ReLU or ReLU6 that is the only reader of `tensor`, else `tensor`."""
    identities: set[tf.Operation] = set()
    reader = path.only_reader(_through_identities(path, tensor, identities))
    if reader is None or reader.type not in ACTIVATION_TYPES:
        return tensor
    fused.update(identities, {reader})
    return reader.outputs[0]


def _adds_bias(path: DataPath, operation: tf.Operation) -> bool:
    if operation in path.folded or operation in path.unfolded or operation.type not in {"BiasAdd", "Add", "AddV2"}:
        return False
    channels = operation.outputs[0].shape[-1]
    constants = list(_constants(path, operation))
    return len(constants) == 1 and channels is not None and constants[0].shape.num_elements() in {1, channels}


def _constants(path: DataPath, operation: tf.Operation) -> Iterator[tf.Tensor]:
    """Return the float operands that do not depend on the network's input."""
    sources = {tensor.name for tensor in path.sources[operation]}
    return (tensor for tensor in operation.inputs if tensor.dtype.is_floating and tensor.name not in sources)


def _has_channels(x: tf.Tensor | None) -> bool:
    return x is not None and x.shape.rank == 4 and x.shape[-1] is not None  # noqa: PLR2004 - [batch, height, width, channels]


def _snake_case(name: str) -> str:
    """Return "leaky_relu" for "LeakyRelu", "add" for "AddV2"."""
    letters = "".join(f"_{each.lower()}" if each.isupper() else each for each in name.removesuffix("V2"))
    return letters.lstrip("_")
