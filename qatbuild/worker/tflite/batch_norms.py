"""The batch norms of a frozen graph in float: their inputs and moving averages.

Two forms: the fused operation, and what tf.nn.batch_normalization builds,

    x factor + (beta - mean factor),   factor = gamma / sqrt(variance + epsilon)

quantize.batch_norm.find knows more of them, what a rewrite needs; an evaluation runs no module of quantize, so that an
edit there makes no report stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

_FUSED = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_ADDS = frozenset({"Add", "AddV2"})
_MEAN, _VARIANCE = 3, 4
"""Inputs of a fused batch norm."""


class BatchNorm(NamedTuple):
    """A batch norm: its input [..., channels], its moving averages [channels], and its result like the input."""

    x: tf.Tensor
    mean: tf.Tensor
    variance: tf.Tensor
    result: tf.Tensor


def batch_norms(graph: tf.Graph) -> list[BatchNorm]:
    """Returns the batch norms of a frozen graph, in the graph's order."""
    return [norm for operation in graph.get_operations() for norm in (*_fused(operation), *_unfused(operation))]


def _fused(operation: tf.Operation) -> Iterator[BatchNorm]:
    if operation.type in _FUSED and not operation.get_attr("is_training"):
        mean, variance = operation.inputs[_MEAN], operation.inputs[_VARIANCE]
        yield BatchNorm(operation.inputs[0], mean, variance, operation.outputs[0])


def _unfused(operation: tf.Operation) -> Iterator[BatchNorm]:
    """Yields the batch norms whose factor begins with the operation, the Rsqrt of variance + epsilon."""
    shifted = operation.inputs[0].op if operation.type == "Rsqrt" else None
    if shifted is None or shifted.type not in _ADDS or not _is_constant(shifted.inputs[0]):
        return
    for factor in (operation.outputs[0], *_products(operation.outputs[0])):
        products = [(product, _other(product.op, factor)) for product in _products(factor)]
        means = [_unnegated(other) for _, other in products if _is_constant(other)]
        for scaled, x in products:
            results = [each.outputs[0] for each in scaled.consumers() if each.type in _ADDS]
            if means and results and not _is_constant(x):
                yield BatchNorm(x, means[0], shifted.inputs[0], results[0])


def _products(tensor: tf.Tensor) -> list[tf.Tensor]:
    return [each.outputs[0] for each in tensor.consumers() if each.type == "Mul"]


def _other(product: tf.Operation, factor: tf.Tensor) -> tf.Tensor:
    first, second = product.inputs
    return second if first is factor else first


def _unnegated(tensor: tf.Tensor) -> tf.Tensor:
    return tensor.op.inputs[0] if tensor.op.type == "Neg" else tensor


def _is_constant(tensor: tf.Tensor) -> bool:
    """Returns whether a tensor is computed of constants only."""
    waiting, seen = [tensor.op], {tensor.op.name}
    while waiting:
        operation = waiting.pop()
        if operation.type == "Placeholder":
            return False
        before = [each.op for each in operation.inputs if each.op.name not in seen]
        seen.update(each.name for each in before)
        waiting += before
    return True
