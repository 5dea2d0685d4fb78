"""Graph traversal: the operations that can be reached from others along the edges."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import tensorflow as tf

SHAPE_OPS = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})
"""Operations that read the shape of a tensor and not its values."""

Node = TypeVar("Node", bound=Hashable)


def reachable(starts: Iterable[Node], neighbours: Callable[[Node], Iterable[Node]]) -> set[Node]:
    """Returns all nodes reached from `starts` in any number of steps to neighbours, `starts` included."""
    seen: set[Node] = set()
    pending = list(starts)
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending.extend(neighbours(node))
    return seen


def producers(operation: tf.Operation) -> list[tf.Operation]:
    """Returns the operations that compute the data inputs of `operation`."""
    return [tensor.op for tensor in operation.inputs]


def readers(operation: tf.Operation) -> list[tf.Operation]:
    """Returns the operations that read any output of `operation`."""
    return [reader for tensor in operation.outputs for reader in tensor.consumers()]


def float_readers(operation: tf.Operation) -> list[tf.Operation]:
    """Returns the operations that read a floating-point output of `operation`."""
    return [reader for tensor in operation.outputs if tensor.dtype.is_floating for reader in tensor.consumers()]


def consumers(tensor: tf.Tensor) -> tuple[tf.Operation, ...]:
    """Returns the operations that read `tensor`, each once, in the order of the graph's edges."""
    return tuple(dict.fromkeys(tensor.consumers()))
