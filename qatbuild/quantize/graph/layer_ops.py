"""Op types of layers, activations and batch norms, and how biases and batch norms are recognised by structure."""

from __future__ import annotations

import tensorflow as tf

LAYER_TYPES = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul"})
TRANSPOSED_TYPES = frozenset({"Conv2DBackpropInput"})
ACTIVATION_TYPES = frozenset({"Relu", "Relu6"})
BATCH_NORM_TYPES = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_RESHAPING = frozenset({"Identity", "Reshape"})
_MOVING = frozenset({"BatchToSpaceND", "ExpandDims", "Identity", "Reshape", "Squeeze"})


def bias_of(operation: tf.Operation) -> tf.Tensor | None:
    """Returns the bias [channels] that `operation` adds: the second input of a BiasAdd, or one operand of an Add."""
    if operation.type == "BiasAdd":
        return operation.inputs[1]
    if operation.type in {"Add", "AddV2"} and operation.outputs[0].shape.rank:
        channels = operation.outputs[0].shape[-1:]
        vectors = [
            vector
            for vector in map(vector_of, operation.inputs)
            if vector.shape.is_fully_defined() and vector.shape == channels
        ]
        return vectors[0] if len(vectors) == 1 else None
    return None


def vector_of(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the vector that was reshaped to [1, .., channels], as Keras does with biases; else `tensor`."""
    whole = tensor.op.inputs[0] if tensor.op.type == "Reshape" else tensor
    return whole if whole.shape.rank == 1 and whole.shape[-1:] == tensor.shape[-1:] else tensor


def variable_of(value: tf.Tensor) -> tf.Operation:
    """Returns the operation of the variable whose value is read; that of the tensor itself for any other."""
    operation = value.op
    while operation.type in {"Cast", "Identity", "ReadVariableOp"}:
        operation = operation.inputs[0].op
    return operation


def keeps_channels(operation: tf.Operation) -> bool:
    """Returns whether an operation only moves values, and each stays in its channel, an index of the last axis."""
    if operation.type not in _MOVING:
        return False
    before, after = operation.inputs[0].shape, operation.outputs[0].shape
    return bool(before.rank and after.rank and before[-1] is not None and before[-1] == after[-1])


def is_read(tensor: tf.Tensor) -> bool:
    """Returns whether `tensor` has consumers, not counting the dangling Reshape that a folded dense layer leaves."""
    return any(not _is_dangling(consumer) for consumer in tensor.consumers())


def is_batch_norm(operation: tf.Operation) -> bool:
    """Returns whether `operation` is a fused batch norm, or the multiplication of an unfused one."""
    return operation.type in BATCH_NORM_TYPES or is_batch_norm_product(operation)


def is_batch_norm_product(operation: tf.Operation) -> bool:
    """Returns whether this is the multiplication of an unfused batch norm: x times gamma / sqrt(variance + epsilon)."""
    return operation.type == "Mul" and any(is_normalizing_factor(tensor.op) for tensor in operation.inputs)


def is_normalizing_factor(operation: tf.Operation) -> bool:
    """Returns whether the value is gamma / sqrt(variance + epsilon), the factor of an unfused batch norm."""
    if operation.type == "Mul":
        return any(tensor.op.type == "Rsqrt" for tensor in operation.inputs)
    return bool(operation.type == "Rsqrt")


def _is_dangling(operation: tf.Operation) -> bool:
    consumers = operation.outputs[0].consumers() if operation.type in _RESHAPING else []
    if operation.type == "Identity" and not consumers:
        return False  # it names an output of the network
    return operation.type in _RESHAPING and all(map(_is_dangling, consumers))
