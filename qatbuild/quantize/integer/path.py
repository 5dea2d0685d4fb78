"""The data path of a network: the operations through which the inputs' values reach its ends.

Shapes, axes, weights, biases and batch statistics are not on the path, whether or not they depend on the input. Apart
from dropout and noise the path of a training graph is that of its inference graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable, find_batch_norms
from qatbuild.quantize.graph.hard_swish import hard_swish_input
from qatbuild.quantize.graph.integer_ops import OPS
from qatbuild.quantize.graph.names import layer_name, tensor_name
from qatbuild.quantize.graph.refusals import facts_of, refuse_equal, refuse_unconnected, refuse_unread
from qatbuild.quantize.graph.walk import SHAPE_OPS, float_readers, reachable, readers
from qatbuild.quantize.integer.prelu import prelu_of

Sources = tuple[tf.Tensor, ...]


@dataclass(frozen=True)
class DataPath:
    """The path from the inputs to the ends: the tensors of logits, and of what else the network computes.

    operations  in order of execution, which depends only on the network's structure; without the inputs
    sources     operation -> the tensors from which it reads the network's values
    readers     name of a tensor -> the operations on the path that read it
    folded      last operation of a batch norm -> the batch norm, if it becomes a part of its layer
    unfolded    operation of a batch norm -> the batch norm, if it does not
    random      operations on the path that add or multiply by random numbers
    scope       the name scope of the whole network: "CifarNet/", or ''
    """

    inputs: tuple[tf.Tensor, ...]
    ends: tuple[tf.Tensor, ...]
    operations: tuple[tf.Operation, ...]
    sources: Mapping[tf.Operation, Sources]
    readers: Mapping[str, tuple[tf.Operation, ...]]
    folded: Mapping[tf.Operation, BatchNorm]
    unfolded: Mapping[tf.Operation, Unfoldable]
    random: frozenset[tf.Operation]
    scope: str

    @classmethod
    def between(cls, graph: tf.Graph, inputs: Sequence[str], ends: Sequence[str], *, training: bool) -> DataPath:
        """Returns the path between tensors (or the first outputs of operations).

        RewriteError if one of them does not exist, an end does not depend on the inputs, or an input leads to no end.
        """
        starts, last = _tensors(graph, inputs), _tensors(graph, ends)
        start_ops = {each.op for each in starts}
        norms = find_batch_norms(graph, training=training, as_tf1=False)
        folded = {each.result.op: each for each in norms if isinstance(each, BatchNorm)}
        unfolded = {each.operation: each for each in norms if isinstance(each, Unfoldable)}
        dependent = frozenset().union(*map(_dependent_tensors, starts))

        def sources_of(operation: tf.Operation) -> Sources:
            if operation in start_ops:
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

        sources = _in_order([each.op for each in last], sources_of)
        _refuse_unconnected(starts, last, sources)
        refuse_equal([_tensor(graph, tensor_name(each)) for each in ends], sources)
        operations = tuple(each for each in sources if each not in start_ops)
        return cls(
            inputs=starts,
            ends=last,
            operations=operations,
            sources=sources,
            readers=_readers_by_tensor(operations, sources),
            folded={each: norm for each, norm in folded.items() if each in sources},
            unfolded={each: norm for each, norm in unfolded.items() if each in sources},
            random=_random(graph, frozenset(operations)),
            scope=_scope(operations, folded),
        )

    @property
    def end_names(self) -> frozenset[str]:
        """The names of the tensors at its ends."""
        return frozenset(each.name for each in self.ends)

    @property
    def facts(self) -> list[tuple[str, object]]:
        """The tensors at either side, for an error."""
        return facts_of(self.inputs, self.ends)

    def only_reader(self, tensor: tf.Tensor) -> tf.Operation | None:
        """Returns the only operation on the path that reads a tensor; None with several, and at an end."""
        by = self.readers.get(tensor.name, ())
        return by[0] if len(by) == 1 and tensor.name not in self.end_names else None

    def layer(self, operation: tf.Operation) -> str:
        """Returns the name of the operation's layer within the network: "conv1" for "CifarNet/conv1/Conv2D"."""
        return layer_name(str(operation.name), self.scope)


def _tensors(graph: tf.Graph, names: Iterable[str]) -> Sources:
    return tuple(_tensor(graph, name) for name in dict.fromkeys(map(tensor_name, names)))


def _tensor(graph: tf.Graph, name: str) -> tf.Tensor:
    try:
        return graph.get_tensor_by_name(name)
    except (KeyError, ValueError):
        raise RewriteError("The network has no such tensor.", [("tensor", name)]) from None


def _dependent_tensors(start: tf.Tensor) -> set[str]:
    """Returns the names of the float tensors whose values depend on those of `start`, its own included."""
    if not start.dtype.is_floating:
        return set()

    def value_readers(operation: tf.Operation) -> list[tf.Operation]:
        return [each for each in float_readers(operation) if each.type not in SHAPE_OPS]

    first = [each for each in start.consumers() if each.type not in SHAPE_OPS]
    outputs = (tensor for operation in reachable(first, value_readers) for tensor in operation.outputs)
    return {start.name, *(tensor.name for tensor in outputs if tensor.dtype.is_floating)}


def _refuse_unconnected(starts: Sources, ends: Sources, sources: Mapping[tf.Operation, Sources]) -> None:
    """Raises a RewriteError for an end that depends on no input, and for an input that leads to no end."""
    start_ops = {each.op for each in starts}
    for end in ends:
        connected = reachable([end.op], lambda operation: [tensor.op for tensor in sources[operation]]) & start_ops
        if not connected or (len(ends) == 1 and end.op in start_ops):
            refuse_unconnected(starts, [end], {})
    for start in starts:
        if start.op not in sources:
            refuse_unread(start, ends)


def _in_order(
    ends: Iterable[tf.Operation], sources_of: Callable[[tf.Operation], Sources]
) -> dict[tf.Operation, Sources]:
    """Returns the operations that `ends` take values from, and their sources, in order of execution (depth first)."""
    ordered: dict[tf.Operation, Sources] = {}
    pending: list[tuple[tf.Operation, Sources | None]] = [(end, None) for end in reversed(list(ends))]
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
    """Returns the operations on the path that draw random numbers, or read them from outside of the path."""
    noise = [each for each in graph.get_operations() if "Random" in each.type]
    return frozenset(reachable(noise, lambda each: () if each in on_path else readers(each)) & on_path)


def _scope(operations: Iterable[tf.Operation], folded: Mapping[tf.Operation, BatchNorm]) -> str:
    """Returns the name scope of the whole network. Only layers count if there are several: a dropout may be outside."""
    names = {each: folded[each].layer.name if each in folded else each.name for each in operations}
    layers = [name for each, name in names.items() if each in folded or _reads_one_operand(each)]
    first = {name.partition("/")[0] for name in (layers if len(layers) > 1 else names.values())}
    return f"{first.pop()}/" if len(first) == 1 else ""


def _reads_one_operand(operation: tf.Operation) -> bool:
    row = OPS.get(operation.type)
    return row is not None and row.data is not None
