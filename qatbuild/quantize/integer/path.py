"""The data path of a network: the operations through which the input's values reach the logits.

Shapes, axes, weights, biases and batch statistics are not on the path, whether or not they depend on the input. Apart
from dropout and noise the path of a training graph is that of its inference graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable, find_batch_norms
from qatbuild.quantize.graph.integer_ops import OPS
from qatbuild.quantize.graph.names import layer_name
from qatbuild.quantize.graph.refusals import refuse_unconnected
from qatbuild.quantize.graph.walk import SHAPE_OPS, float_readers, reachable, readers
from qatbuild.quantize.integer.hard_swish import hard_swish_input
from qatbuild.quantize.integer.prelu import prelu_of

Sources = tuple[tf.Tensor, ...]


@dataclass(frozen=True)
class DataPath:
    """The path from `input` to `logits`.

    operations  in order of execution, which depends only on the network's structure; without the input
    sources     operation -> the tensors from which it reads the network's values
    readers     name of a tensor -> the operations on the path that read it
    folded      last operation of a batch norm -> the batch norm, if it becomes a part of its layer
    unfolded    operation of a batch norm -> the batch norm, if it does not
    random      operations on the path that add or multiply by random numbers
    scope       the name scope of the whole network: "CifarNet/", or ''
    """

    input: tf.Tensor
    logits: tf.Tensor
    operations: tuple[tf.Operation, ...]
    sources: Mapping[tf.Operation, Sources]
    readers: Mapping[str, tuple[tf.Operation, ...]]
    folded: Mapping[tf.Operation, BatchNorm]
    unfolded: Mapping[tf.Operation, Unfoldable]
    random: frozenset[tf.Operation]
    scope: str

    @classmethod
    def between(cls, graph: tf.Graph, input: str, logits: str, *, training: bool) -> DataPath:  # noqa: A002
        """Return the path between two tensors (or the first outputs of two operations).

        RewriteError if one of them does not exist, or if the logits do not depend on the input.
        """
        start, end = _tensor(graph, input), _tensor(graph, logits)
        norms = find_batch_norms(graph, training=training, as_tf1=False)
        folded = {each.result.op: each for each in norms if isinstance(each, BatchNorm)}
        unfolded = {each.operation: each for each in norms if isinstance(each, Unfoldable)}
        dependent = _dependent_tensors(start)

        def sources_of(operation: tf.Operation) -> Sources:
            if operation is start.op:
                return ()
            if operation in folded:
                layer = folded[operation].layer
                return (layer.inputs[OPS[layer.type].data],)
            norm = unfolded.get(operation)
            if norm is not None and norm.x is not None:
                return (norm.x,)
            x = hard_swish_input(operation)
            if x is not None:
                return (x,)
            prelu = prelu_of(operation)
            if prelu is not None:
                return (prelu.x,)
            row = OPS.get(operation.type)
            operands = operation.inputs if row is None or row.data is None else [operation.inputs[row.data]]
            return tuple(each for each in operands if each.dtype.is_floating and each.name in dependent)

        sources = _in_order(end.op, sources_of)
        if start.op not in sources or start.op is end.op:
            refuse_unconnected(start, end, {})
        operations = tuple(each for each in sources if each is not start.op)
        return cls(
            input=start,
            logits=end,
            operations=operations,
            sources=sources,
            readers=_readers_by_tensor(operations, sources),
            folded={each: norm for each, norm in folded.items() if each in sources},
            unfolded={each: norm for each, norm in unfolded.items() if each in sources},
            random=_random(graph, frozenset(operations)),
            scope=_scope(operations, folded),
        )

    def only_reader(self, tensor: tf.Tensor) -> tf.Operation | None:
        """Return the only operation on the path that reads a tensor; None with several, and for the logits."""
        by = self.readers.get(tensor.name, ())
        return by[0] if len(by) == 1 and tensor is not self.logits else None

    def layer(self, operation: tf.Operation) -> str:
        """Return the name of the operation's layer within the network: "conv1" for "CifarNet/conv1/Conv2D"."""
        return layer_name(str(operation.name), self.scope)


def _tensor(graph: tf.Graph, name: str) -> tf.Tensor:
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError):
        raise RewriteError("The network has no such tensor.", [("tensor", name)]) from None


def _dependent_tensors(start: tf.Tensor) -> set[str]:
    """Return the names of the float tensors whose values depend on those of `start`, its own included."""
    if not start.dtype.is_floating:
        return set()

    def value_readers(operation: tf.Operation) -> list[tf.Operation]:
        return [each for each in float_readers(operation) if each.type not in SHAPE_OPS]

    first = [each for each in start.consumers() if each.type not in SHAPE_OPS]
    outputs = (tensor for operation in reachable(first, value_readers) for tensor in operation.outputs)
    return {start.name, *(tensor.name for tensor in outputs if tensor.dtype.is_floating)}


def _in_order(end: tf.Operation, sources_of: Callable[[tf.Operation], Sources]) -> dict[tf.Operation, Sources]:
    """Return the operations that `end` takes values from, and their sources, in order of execution (depth first)."""
    ordered: dict[tf.Operation, Sources] = {}
    pending: list[tuple[tf.Operation, Sources | None]] = [(end, None)]
    entered: set[tf.Operation] = set()
    while pending:
        operation, sources = pending.pop()
        if sources is not None:
            ordered[operation] = sources
        elif operation not in entered:
            entered.add(operation)
            sources = sources_of(operation)
            pending.append((operation, sources))
            pending += [(tensor.op, None) for tensor in reversed(sources)]
    return ordered


def _readers_by_tensor(
    operations: Iterable[tf.Operation], sources: Mapping[tf.Operation, Sources]
) -> dict[str, tuple[tf.Operation, ...]]:
    by_tensor: dict[str, dict[tf.Operation, None]] = {}
    for operation in operations:
        for source in sources[operation]:
            by_tensor.setdefault(source.name, {})[operation] = None
    return {name: tuple(each) for name, each in by_tensor.items()}


def _random(graph: tf.Graph, on_path: frozenset[tf.Operation]) -> frozenset[tf.Operation]:
    """Return the operations on the path that draw random numbers, or read them from outside of the path."""
    noise = [each for each in graph.get_operations() if "Random" in each.type]
    return frozenset(reachable(noise, lambda each: () if each in on_path else readers(each)) & on_path)


def _scope(operations: Iterable[tf.Operation], folded: Mapping[tf.Operation, BatchNorm]) -> str:
    """Return the name scope of the whole network. Only layers decide if there are several: a dropout may be outside."""
    names = {each: folded[each].layer.name if each in folded else each.name for each in operations}
    layers = [name for each, name in names.items() if each in folded or _reads_one_operand(each)]
    first = {name.partition("/")[0] for name in (layers if len(layers) > 1 else names.values())}
    return f"{first.pop()}/" if len(first) == 1 else ""


def _reads_one_operand(operation: tf.Operation) -> bool:
    row = OPS.get(operation.type)
    return row is not None and row.data is not None
