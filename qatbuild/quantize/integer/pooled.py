"""FakeQuants behind max pools in training, where they cost less: a 2 x 2 pool leaves a quarter of the values.

Quantization is monotonic, so it commutes with the maximum:

    max(FakeQuant(x)) = FakeQuant(max(x))

If the pool's windows cover every value, the greatest value is also in the pool's output; and behind a ReLU the least
value that counts is 0. So the range is the same on either side of the pool. The inference graph, which the converter
reads, has the FakeQuant in front of the pool, where the runtime rounds.
"""

from __future__ import annotations

import tensorflow as tf

_RECTIFIED = frozenset({"Relu", "Relu6"})


def behind_pool(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the output of the max pool that is the only reader of a rectified tensor; else the tensor itself."""
    readers = tensor.consumers()
    if tensor.op.type in _RECTIFIED and len(readers) == 1 and _covers_input(readers[0]):
        pooled: tf.Tensor = readers[0].outputs[0]
        return pooled
    return tensor


def never_negative(tensor: tf.Tensor) -> bool:
    """Returns whether the tensor is the output of a ReLU, or of a max pool behind one: its values are >= 0."""
    operation = tensor.op
    if operation.type == "MaxPool":
        operation = operation.inputs[0].op
    return operation.type in _RECTIFIED


def _covers_input(operation: tf.Operation) -> bool:
    """Returns whether the operation is a max pool whose windows cover every value of its input."""
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
