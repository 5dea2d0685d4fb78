"""Hard-swish, recognised by structure: x relu6(x + 3) / 6 (Howard et al. 2019, section 5.2), factors in any order.

The converter makes one integer operation of it, provided that nothing inside has a range of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import tensorflow as tf


def hard_swish_input(operation: tf.Operation) -> tf.Tensor | None:
    """Returns the tensor x if the operation's output is x relu6(x + 3) / 6, else None."""
    if operation.type == "Mul":  # x (relu6(x + 3) / 6)
        for x, factor in _both_orders(operation):
            gate = _sixth(factor.op)
            if gate is not None and _unshifted(gate) is x:
                return x
    product = _sixth(operation)
    if product is not None and product.op.type == "Mul":  # (x relu6(x + 3)) / 6
        for x, gate in _both_orders(product.op):
            if _unshifted(gate) is x:
                return x
    return None


def _sixth(operation: tf.Operation) -> tf.Tensor | None:
    """Returns the tensor that the operation divides by 6, else None."""
    if operation.type == "RealDiv" and _is(operation.inputs[1], 6.0):
        return operation.inputs[0]
    if operation.type == "Mul":
        return next((value for value, factor in _both_orders(operation) if _is(factor, 1 / 6)), None)
    return None


def _unshifted(gate: tf.Tensor) -> tf.Tensor | None:
    """Returns the tensor x if `gate` is relu6(x + 3), else None."""
    if gate.op.type != "Relu6" or gate.op.inputs[0].op.type not in {"Add", "AddV2"}:
        return None
    return next((value for value, shift in _both_orders(gate.op.inputs[0].op) if _is(shift, 3.0)), None)


def _both_orders(operation: tf.Operation) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    first, second = operation.inputs
    yield first, second
    yield second, first


def _is(tensor: tf.Tensor, number: float) -> bool:
    if tensor.op.type != "Const" or tensor.shape.num_elements() != 1:
        return False
    return math.isclose(float(tf.get_static_value(tensor).reshape(())), number, rel_tol=1e-5)
