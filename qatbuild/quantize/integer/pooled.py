"""Where a FakeQuant costs less in training: behind a max pool, on a quarter of the values.

Rounding to codes keeps the order of values, so the greatest of rounded values is the greatest value, rounded:

    max(FakeQuant(x)) = FakeQuant(max(x))

And where the pool's windows leave no value out, the greatest of all values is among what the pool gives. What stands
behind a ReLU is never negative, so the range begins at 0 whatever the values. The inference graph, which the converter
reads, has the FakeQuant in front of the pool, where the runtime rounds.
"""

from __future__ import annotations

import tensorflow as tf

_RECTIFIED = frozenset({"Relu", "Relu6"})


def behind_pool(tensor: tf.Tensor) -> tf.Tensor:
    """The output of the max pool that alone reads a rectified tensor, all of it; else the tensor itself."""
    readers = tensor.consumers()
    if tensor.op.type in _RECTIFIED and len(readers) == 1 and _takes_all(readers[0]):
        pooled: tf.Tensor = readers[0].outputs[0]
        return pooled
    return tensor


def never_negative(tensor: tf.Tensor) -> bool:
    """Whether a tensor's values are 0 or more, by its operation."""
    operation = tensor.op
    if operation.type == "MaxPool":
        operation = operation.inputs[0].op
    return operation.type in _RECTIFIED


def _takes_all(operation: tf.Operation) -> bool:
    """Whether the operation is a max pool whose windows cover every value of its input."""
    if operation.type != "MaxPool" or operation.get_attr("data_format") != b"NHWC":
        return False
    sizes, strides = operation.get_attr("ksize"), operation.get_attr("strides")
    if any(stride > size for size, stride in zip(sizes, strides, strict=True)):
        return False
    if operation.get_attr("padding") == b"SAME":
        return True
    shape = operation.inputs[0].shape.as_list()
    inner = list(zip(shape, sizes, strides, strict=True))[1:3]
    return all(length is not None and (length - size) % stride == 0 for length, size, stride in inner)
