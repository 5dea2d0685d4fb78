"""The activation at the end of a network, which a task computes itself."""

from __future__ import annotations

import tensorflow as tf


def last_operation(tensor: tf.Tensor) -> tf.Operation:
    """Returns the operation that computes a tensor, in front of any Identity."""
    operation = tensor.op
    while operation.type == "Identity":
        operation = operation.inputs[0].op
    return operation


def without(tensor: tf.Tensor, end: str) -> tf.Tensor:
    """Returns what the activation `end`, "softmax" or "sigmoid", reads; the tensor itself if it ends otherwise."""
    last = last_operation(tensor)
    return last.inputs[0] if last.type.lower() == end else tensor
