"""The operations through which the input's values reach the logits: which tensors carry values, and where to.

Shapes, axes, weights, biases and a batch's statistics hang on the network's values too, or do not; they are no part of
the path. It is the same in a training graph and in its inference graph, but for dropout and its like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable, find_batch_norms
from qatbuild.quantize.integer.hard_swish import hard_swish_input
from qatbuild.quantize.integer.ops import DATA_OPERAND
from qatbuild.quantize.tf1.placement import parent

_LIKENESSES = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})
"""They read a value's shape, and none of it."""


@dataclass(frozen=True)
class Path:
    """The path from `input` to `logits`.

    `operations` are in the order in which they compute, which depends on the network's structure alone. `sources` has
    the tensors that bring an operation the network's values, `readers` (by a tensor's name) the operations of the path
    that take it. `folded` has, at the operation that gives its result, each batch norm that becomes part of its layer,
    `standing` each that does not, at its own. `random` are the operations that bring in random numbers.
    """

    input: tf.Tensor
    logits: tf.Tensor
    operations: tuple[tf.Operation, ...]
    sources: Mapping[tf.Operation, tuple[tf.Tensor, ...]]
    readers: Mapping[str, tuple[tf.Operation, ...]]
    folded: Mapping[tf.Operation, BatchNorm]
    standing: Mapping[tf.Operation, Unfoldable]
    random: frozenset[tf.Operation]
    scope: str

    @classmethod
    def between(cls, graph: tf.Graph, input: str, logits: str, *, training: bool) -> Path:  # noqa: A002
        """The path between two tensors (or the first outputs of two operations); RewriteError if there is none."""
        start, end = _tensor(graph, input), _tensor(graph, logits)
        norms = find_batch_norms(graph, training=training, biased=True)
        folded = {each.result.op: each for each in norms if isinstance(each, BatchNorm)}
        standing = {each.operation: each for each in norms if isinstance(each, Unfoldable)}
        reached = _reached([start])

        def sources(operation: tf.Operation) -> tuple[tf.Tensor, ...]:
            if operation is start.op:
                return ()
            if operation in folded:
                return (folded[operation].layer.inputs[0],)
            norm = standing.get(operation)
            if norm is not None and norm.x is not None:
                return (norm.x,)
            swished = hard_swish_input(operation)
            if swished is not None:
                return (swished,)
            operands = operation.inputs
            if operation.type in DATA_OPERAND:
                operands = [operands[DATA_OPERAND[operation.type]]]
            return tuple(each for each in operands if each.dtype.is_floating and each.name in reached)

        taken = _in_order(end.op, sources)
        if start.op not in taken or start.op is end.op:
            raise RewriteError("The logits do not depend on the input.", [("input", input), ("logits", logits)])
        operations = tuple(each for each in taken if each is not start.op)
        readers: dict[str, list[tf.Operation]] = {}
        for operation in operations:
            for source in taken[operation]:
                readers.setdefault(source.name, []).append(operation)
        noise = [each for each in graph.get_operations() if "Random" in each.type]
        return cls(
            input=start,
            logits=end,
            operations=operations,
            sources=taken,
            readers={name: tuple(dict.fromkeys(each)) for name, each in readers.items()},
            folded={each: norm for each, norm in folded.items() if each in taken},
            standing={each: norm for each, norm in standing.items() if each in taken},
            random=frozenset(_touched(noise, frozenset(operations))),
            scope=_scope(operations, folded),
        )

    def only_reader(self, tensor: tf.Tensor) -> tf.Operation | None:
        """The operation that alone takes a tensor, or None if there are several, or the tensor is the logits."""
        readers = self.readers.get(tensor.name, ())
        return readers[0] if len(readers) == 1 and tensor is not self.logits else None

    def layer(self, operation: tf.Operation) -> str:
        """The operation's layer within the network: "conv1" of "CifarNet/conv1/Conv2D", "norm1" of "CifarNet/norm1"."""
        name = str(operation.name).removeprefix(self.scope)
        before, standardization, inside = name.partition("per_image_standardization")
        if inside:  # its operations are spread over scopes of their own
            return before + standardization
        return parent(name) or name


def _tensor(graph: tf.Graph, name: str) -> tf.Tensor:
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError):
        raise RewriteError("The network has no such tensor.", [("tensor", name)]) from None


def _reached(tensors: Iterable[tf.Tensor]) -> set[str]:
    """The names of all float tensors that depend on the values of the given ones, those included."""
    seen: set[str] = set()
    waiting = list(tensors)
    while waiting:
        tensor = waiting.pop()
        if tensor.name not in seen and tensor.dtype.is_floating:
            seen.add(tensor.name)
            waiting += [new for each in tensor.consumers() if each.type not in _LIKENESSES for new in each.outputs]
    return seen


def _in_order(
    end: tf.Operation, sources: Callable[[tf.Operation], tuple[tf.Tensor, ...]]
) -> dict[tf.Operation, tuple[tf.Tensor, ...]]:
    """Everything that `end` takes values from, sources first; an operation's sources in the order of its inputs."""
    found: dict[tf.Operation, tuple[tf.Tensor, ...]] = {}
    waiting: list[tuple[tf.Operation, tuple[tf.Tensor, ...] | None]] = [(end, None)]
    entered: set[tf.Operation] = set()
    while waiting:
        operation, taken = waiting.pop()
        if taken is not None:
            found[operation] = taken
        elif operation not in entered:
            entered.add(operation)
            taken = sources(operation)
            waiting.append((operation, taken))
            waiting += [(tensor.op, None) for tensor in reversed(taken)]
    return found


def _touched(noise: Iterable[tf.Operation], path: frozenset[tf.Operation]) -> set[tf.Operation]:
    """The operations of the path that take random numbers from the side, or draw them."""
    touched: set[tf.Operation] = set()
    seen: set[tf.Operation] = set()
    waiting = list(noise)
    while waiting:
        operation = waiting.pop()
        if operation in path:
            touched.add(operation)
        elif operation not in seen:
            seen.add(operation)
            waiting += [each for tensor in operation.outputs for each in tensor.consumers()]
    return touched


def _scope(operations: Iterable[tf.Operation], folded: Mapping[tf.Operation, BatchNorm]) -> str:
    """The name scope that the whole network stands in: "CifarNet/", or ''. An unnamed dropout stands outside."""
    every = [folded[each].layer.name if each in folded else each.name for each in operations]
    layers = [name for each, name in zip(operations, every, strict=True) if each in folded or each.type in DATA_OPERAND]
    first = {name.partition("/")[0] for name in (layers if len(layers) > 1 else every)}
    return f"{first.pop()}/" if len(first) == 1 else ""
