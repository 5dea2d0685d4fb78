"""The check of mode tf1: refuse, before any training, a network that the converter would leave in float somewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable, find_batch_norms
from qatbuild.quantize.batch_norm.fold import fold
from qatbuild.quantize.graph.integer_ops import (
    ACTIVATIONS,
    NEEDS_RANGE,
    ONLY_AS_UINT8,
    ONLY_IN_INTEGER,
    ONLY_LOGITS_IN_TF1,
    OPS,
    POOLS,
    SPLITS,
    UNREAD_PARTS,
    kind,
    reason,
)
from qatbuild.quantize.graph.layer_ops import ACTIVATION_TYPES, LAYER_TYPES
from qatbuild.quantize.graph.names import layer_name
from qatbuild.quantize.graph.refusals import (
    UnsupportedOp,
    refuse_equal,
    refuse_unconnected,
    refuse_unread,
    refuse_unsupported,
)
from qatbuild.quantize.graph.walk import float_readers, reachable
from qatbuild.quantize.options import Options
from qatbuild.quantize.tf1.layers import LayerMatch, find_layers, unfolded_batch_norm, why_unmatched
from qatbuild.quantize.tf1.placement import Precision, place


def check_network(
    graph: tf.Graph,
    inputs: Sequence[str],
    ends: Sequence[str],
    hints: Mapping[str, str],
    options: Options | None = None,
) -> None:
    """Raises a RewriteError for a network that the ranges of mode tf1 do not make fully integer; see quantize.modes."""
    scheme = "uint8" if options is None else options.scheme
    refuse_unsupported(CheckedNetwork.between(_folded(graph), inputs, ends).unsupported(scheme), {**_HINTS, **hints})


_HINTS = {
    **dict.fromkeys((name for name, op in OPS.items() if not op.in_tf1), 'write "mode": "integer", which reads more'),
    **dict.fromkeys(("LeakyRelu", "Maximum", "Minimum", "SelectV2"), ACTIVATIONS),
}


def _folded(graph: tf.Graph) -> tf.Graph:
    """Returns the graph as the rewrite will see it, with its batch norms folded: a copy if it has any."""
    if not any(isinstance(each, BatchNorm) for each in find_batch_norms(graph, training=False)):
        return graph
    with tf.Graph().as_default() as copy:
        tf.import_graph_def(graph.as_graph_def(), name="")
        for each in find_batch_norms(copy, training=False):
            if isinstance(each, BatchNorm):
                fold(each)
    return copy


@dataclass(frozen=True)
class CheckedNetwork:
    """The operations between inputs and ends, and the ranges that the rewrite would give them.

    operations   in the graph's order, without the inputs
    chains       for an operation of a recognised layer: the operations that are computed with it in one step
    ranged       operations whose output gets a FakeQuant
    random       operations that depend on random numbers
    unfolded     batch norms that stay, and why
    on_path      the operations and the inputs
    ends         the operations at the ends
    """

    operations: tuple[tf.Operation, ...]
    chains: Mapping[tf.Operation, frozenset[tf.Operation]]
    ranged: frozenset[tf.Operation]
    random: frozenset[tf.Operation]
    unfolded: Mapping[tf.Operation, str]
    on_path: frozenset[tf.Operation] = field(repr=False)
    ends: frozenset[tf.Operation]

    @classmethod
    def between(cls, graph: tf.Graph, sources: Sequence[str], targets: Sequence[str]) -> CheckedNetwork:
        """Returns the network between the operations `sources` and `targets`; RewriteError if these are unconnected."""
        starts, ends = ([_operation(graph, name) for name in names] for names in (sources, targets))
        ancestors = reachable(ends, lambda operation: [tensor.op for tensor in _values(operation)])
        inner = (reachable(starts, float_readers) & ancestors) - set(starts)
        for end in ends:
            if end not in inner:
                refuse_unconnected([each.outputs[0] for each in starts], [end.outputs[0]], {})
        for start in starts:
            if start not in ancestors:
                refuse_unread(start.outputs[0], [each.outputs[0] for each in ends])
        refuse_equal([each.outputs[0] for each in ends], inner)
        matches = find_layers(graph)
        noise = [operation for operation in graph.get_operations() if "Random" in operation.type]
        return cls(
            operations=tuple(operation for operation in graph.get_operations() if operation in inner),
            chains={operation: _chain(match) for match in matches for operation in _chain(match)},
            ranged=frozenset(each.tensor.op for match in matches for each in place(match, Precision())),
            random=frozenset(reachable(noise, float_readers)),
            unfolded={
                each.operation: each.why
                for each in find_batch_norms(graph, training=False)
                if isinstance(each, Unfoldable)
            },
            on_path=frozenset(inner | set(starts)),
            ends=frozenset(ends),
        )

    def unsupported(self, scheme: str) -> list[UnsupportedOp]:
        """Returns the operations that would be computed in float, without those that only follow from another one."""
        scope = self._scope()
        unsupported: list[UnsupportedOp] = []
        in_float: set[tf.Operation] = set()
        for operation in self.operations:
            fault = self._fault(operation, scheme)
            if fault is None:
                continue
            follows = any(tensor.op in in_float for tensor in operation.inputs)
            in_float.add(operation)
            if not follows or operation.type not in NEEDS_RANGE - LAYER_TYPES:
                unsupported.append(UnsupportedOp(layer_name(str(operation.name), scope), *fault))
        return unsupported

    def _fault(self, operation: tf.Operation, scheme: str) -> tuple[str, str] | None:
        """Returns (kind, why) of an operation that would be computed in float, else None."""
        side_inputs = [tensor.op for tensor in operation.inputs if tensor.op not in self.on_path]
        if any(other in self.random for other in side_inputs):
            return "Dropout", reason("Dropout")
        name = kind(operation)
        if name == "BatchNorm":
            return name, "; ".join([*self._why_unfolded(operation)[:1], reason(name)])
        if name != operation.type:
            return name, reason(name)
        row = OPS.get(operation.type)
        if operation.type in SPLITS and not all(self._is_read(each) for each in operation.outputs):
            return name, UNREAD_PARTS
        if row is not None and row.only_uint8 and scheme != "uint8":
            return name, ONLY_AS_UINT8
        needs_no_range = row is not None and row.in_tf1 and operation.type not in NEEDS_RANGE
        if needs_no_range or self._has_range(operation):
            return None
        if operation.type in LAYER_TYPES and operation not in self.chains:
            # The batch norm behind a layer is reported instead of the layer.
            return None if unfolded_batch_norm(operation) is not None else (name, why_unmatched(operation))
        if row is not None and not row.in_tf1:
            return name, ONLY_IN_INTEGER
        return name, ONLY_LOGITS_IN_TF1 if operation in self.ends & self.chains.keys() else reason(name)

    def _is_read(self, part: tf.Tensor) -> bool:
        return part.op in self.ends or any(each in self.on_path for each in part.consumers())

    def _why_unfolded(self, part: tf.Operation) -> list[str]:
        """Returns why the batch norm that contains the operation was not folded; it is listed under its last sum."""
        reasons: list[str] = []
        parts = [part]
        for _ in range(4):  # factor, its product with the mean, the difference to beta, the sum
            reasons += [self.unfolded[each] for each in parts if each in self.unfolded]
            parts = [reader for each in parts for reader in float_readers(each)]
        return reasons

    def _has_range(self, operation: tf.Operation) -> bool:
        """Returns whether the output has a range, or needs none because it is computed in one step with its readers."""
        if operation.type not in NEEDS_RANGE:
            return False
        if operation in self.ranged or operation in self.ends:
            return operation in self.ranged
        if operation.type in ACTIVATION_TYPES and operation.inputs[0].op.type in POOLS:
            return True
        chain = self.chains.get(operation, frozenset())
        following = [each for each in _readers_behind_batch_to_space(operation) if each in self.on_path]
        return bool(following) and all(each in chain and not self._adds_data(operation, each) for each in following)

    def _adds_data(self, layer: tf.Operation, addition: tf.Operation) -> bool:
        """Returns whether another branch's values are added to a layer's output in place of a bias."""
        if layer.type not in LAYER_TYPES:
            return False
        sources = {tensor.op for tensor in addition.inputs} & self.on_path
        return len(sources) > 1

    def _scope(self) -> str:
        """Returns the name scope of the whole network: "CifarNet/", or ''."""
        first = {operation.name.partition("/")[0] for operation in self.operations}
        return f"{first.pop()}/" if len(first) == 1 else ""


def _operation(graph: tf.Graph, name: str) -> tf.Operation:
    try:
        return graph.get_operation_by_name(name.partition(":")[0])
    except KeyError:
        raise RewriteError("The network has no such operation.", [("operation", name)]) from None


def _values(operation: tf.Operation) -> Iterable[tf.Tensor]:
    """Returns the inputs with the network's values; shapes and axes are integers, and not among them."""
    return [tensor for tensor in operation.inputs if tensor.dtype.is_floating]


def _chain(match: LayerMatch) -> frozenset[tf.Operation]:
    chain = (match.layer, match.bias_add, match.passed, match.bypass, match.activation)
    return frozenset(operation for operation in chain if operation is not None)


def _readers_behind_batch_to_space(operation: tf.Operation) -> list[tf.Operation]:
    """Returns the readers of an operation; BatchToSpaceND, a part of an atrous convolution, is passed through."""
    following: list[tf.Operation] = []
    for reader in operation.outputs[0].consumers():
        following += _readers_behind_batch_to_space(reader) if reader.type == "BatchToSpaceND" else [reader]
    return following
