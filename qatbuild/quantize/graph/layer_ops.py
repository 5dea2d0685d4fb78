"""Op types of layers, activations and batch norms, and how biases and batch norms are recognised by structure."""

from __future__ import annotations

import tensorflow as tf

LAYER_TYPES = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul"})
ACTIVATION_TYPES = frozenset({"Relu", "Relu6"})
BATCH_NORM_TYPES = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_RESHAPING = frozenset({"Identity", "Reshape"})


def bias_of(operation: tf.Operation) -> tf.Tensor | None:
    """Return the bias [channels] that `operation` adds: the second input of a BiasAdd, or one operand of an Add."""
    if operation.type == "BiasAdd":
        return operation.inputs[1]
    if operation.type in {"Add", "AddV2"} and operation.outputs[0].shape.rank:
        channels = operation.outputs[0].shape[-1:]
        vectors = [
            tensor for tensor in operation.inputs if tensor.shape.is_fully_defined() and tensor.shape == channels
        ]
        return vectors[0] if len(vectors) == 1 else None
    return None


def is_read(tensor: tf.Tensor) -> bool:
    """Return whether `tensor` has consumers, not counting the dangling Reshape that a folded dense layer leaves."""
    return any(not _is_dangling(consumer) for consumer in tensor.consumers())


def is_batch_norm(operation: tf.Operation) -> bool:
    """Return whether `operation` is a fused batch norm, or the multiplication of an unfused one."""
    return operation.type in BATCH_NORM_TYPES or is_batch_norm_product(operation)


def is_batch_norm_product(operation: tf.Operation) -> bool:
    """Return whether this is the multiplication of an unfused batch norm: x times gamma / sqrt(variance + epsilon)."""
    return operation.type == "Mul" and any(is_normalizing_factor(tensor.op) for tensor in operation.inputs)


def is_normalizing_factor(operation: tf.Operation) -> bool:
    """Return whether the value is gamma / sqrt(variance + epsilon), the factor of an unfused batch norm."""
    if operation.type == "Mul":
        return any(tensor.op.type == "Rsqrt" for tensor in operation.inputs)
    return bool(operation.type == "Rsqrt")


def _is_dangling(operation: tf.Operation) -> bool:
    consumers = operation.outputs[0].consumers() if operation.type in _RESHAPING else []
    if operation.type == "Identity" and not consumers:
        return False  # it names an output of the network
    return operation.type in _RESHAPING and all(map(_is_dangling, consumers))
