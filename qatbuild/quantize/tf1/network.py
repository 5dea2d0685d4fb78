"""Looking at a network before any training step, for what the converter would leave in float."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable, find_batch_norms
from qatbuild.quantize.batch_norm.fold import fold
from qatbuild.quantize.integer.fused_ops import Offence
from qatbuild.quantize.integer.ops import (
    CONSTRUCTS,
    DEFAULT_CURES,
    HAS_A_FIXED_RANGE,
    KEEPS_ITS_RANGE,
    NEEDS_A_RANGE,
    ONLY_AS_UINT8,
    ONLY_UINT8,
    POOLS,
    SPLITS,
    UNREAD_PARTS,
    kind,
    reason,
)
from qatbuild.quantize.integer.rewrite import examine
from qatbuild.quantize.options import Options
from qatbuild.quantize.tf1.layers import LAYER_TYPES, LayerMatch, find_layers, unfolded_batch_norm, why_unmatched
from qatbuild.quantize.tf1.placement import Numbers, parent, place


def check_network(
    graph: tf.Graph,
    input: str,  # noqa: A002
    logits: str,
    cures: Mapping[str, str],
    options: Options | None = None,
) -> None:
    """Refuse a float inference network that the integer toolchain would not compute in integers throughout.

    With `options` of the mode "integer" the question is the rewrite's own: it refuses what the rewrite would refuse,
    and nothing else. Without, or in the mode "tf1", it is what tf.contrib.quantize's ranges suffice for.

    `input` and `logits` name operations (or tensors, "input:0"), `cures` maps a kind of operation ("LRN",
    "BatchNorm", an operation's type) to what the user can do about it. The graph is only looked at.
    RewriteError with one fact per offending layer: ("norm1", "LRN: why").
    """
    if options is not None and options.mode == "integer":
        examine(graph, options, input, logits, cures, training=False)
        return
    scheme = "uint8" if options is None else options.scheme
    offences = Path.between(_folded(graph), input, logits).offences(scheme)
    if not offences:
        return
    kinds = list(dict.fromkeys(offence.kind for offence in offences))
    known = {name: text for name in kinds if (text := cures.get(name) or DEFAULT_CURES.get(name))}
    raise RewriteError(
        "The network cannot be made fully integer.",
        [(offence.layer, f"{offence.kind}: {offence.why}") for offence in offences],
        "; ".join(text if len(kinds) == 1 else f"{text} (for {name})" for name, text in known.items()),
    )


def _folded(graph: tf.Graph) -> tf.Graph:
    """The graph with its batch norms folded, as the rewrite will see it: a copy, if there is one to fold."""
    if not any(isinstance(each, BatchNorm) for each in find_batch_norms(graph, training=False)):
        return graph
    with tf.Graph().as_default() as copy:
        tf.import_graph_def(graph.as_graph_def(), name="")
        for each in find_batch_norms(copy, training=False):
            if isinstance(each, BatchNorm):
                fold(each)
    return copy


@dataclass(frozen=True)
class Path:
    """The operations through which the input's values reach the logits, in the graph's order.

    `chains` has, for each operation of a layer that was recognised, the operations computed with it in one step;
    `ranged` the operations whose output gets a FakeQuant; `unfolded` why a batch norm stays what it is.
    """

    operations: tuple[tf.Operation, ...]
    chains: Mapping[tf.Operation, frozenset[tf.Operation]]
    ranged: frozenset[tf.Operation]
    random: frozenset[tf.Operation]
    unfolded: Mapping[tf.Operation, str]
    on_path: frozenset[tf.Operation] = field(repr=False)

    @classmethod
    def between(cls, graph: tf.Graph, source: str, target: str) -> Path:
        """The path from the operation `source` to `target`; RewriteError if there is none."""
        start, end = _operation(graph, source), _operation(graph, target)
        ancestors = _closure([end], lambda operation: [tensor.op for tensor in _values(operation)])
        reached = _closure([start], _consumers)
        inner = (reached & ancestors) - {start}
        if end not in inner:
            raise RewriteError("The logits do not depend on the input.", [("input", source), ("logits", target)])
        matches = find_layers(graph)
        noise = [operation for operation in graph.get_operations() if "Random" in operation.type]
        return cls(
            operations=tuple(operation for operation in graph.get_operations() if operation in inner),
            chains={operation: _chain(match) for match in matches for operation in _chain(match)},
            ranged=frozenset(each.tensor.op for match in matches for each in place(match, Numbers())),
            random=frozenset(_closure(noise, _consumers)),
            unfolded={
                each.operation: each.why
                for each in find_batch_norms(graph, training=False)
                if isinstance(each, Unfoldable)
            },
            on_path=frozenset(inner | {start}),
        )

    def offences(self, scheme: str) -> list[Offence]:
        """One for each layer (name scope) with an operation that would be computed in float: its cause."""
        scope = self._scope()
        offences: dict[str, Offence] = {}
        blamed: set[tf.Operation] = set()
        for operation in self.operations:
            found = self._offence(operation, scheme)
            if found is None:
                continue
            follows = any(tensor.op in blamed for tensor in operation.inputs)
            blamed.add(operation)
            if follows and operation.type in NEEDS_A_RANGE - LAYER_TYPES:
                continue  # the cause is in front of it
            layer = _layer_name(operation, scope)
            if layer not in offences or (found[0] in CONSTRUCTS and offences[layer].kind not in CONSTRUCTS):
                offences[layer] = Offence(layer, *found)
        return list(offences.values())

    def _offence(self, operation: tf.Operation, scheme: str) -> tuple[str, str] | None:
        side = [tensor.op for tensor in operation.inputs if tensor.op not in self.on_path]
        if any(other in self.random for other in side):
            return "Dropout", reason("Dropout")
        name = kind(operation)
        if name == "BatchNorm":
            return name, "; ".join([*self._whys_unfolded(operation)[:1], reason(name)])
        if name != operation.type:
            return name, reason(name)
        if operation.type in SPLITS and not all(self._is_read(each) for each in operation.outputs):
            return name, UNREAD_PARTS
        if operation.type in ONLY_UINT8 and scheme != "uint8":
            return name, ONLY_AS_UINT8
        if operation.type in KEEPS_ITS_RANGE | HAS_A_FIXED_RANGE or self._has_range(operation):
            return None
        if operation.type in LAYER_TYPES and operation not in self.chains:
            # Of a layer in front of a batch norm, the batch norm is the offence.
            return None if unfolded_batch_norm(operation) is not None else (name, why_unmatched(operation))
        return name, reason(name)

    def _is_read(self, part: tf.Tensor) -> bool:
        return any(each in self.on_path for each in part.consumers())

    def _whys_unfolded(self, part: tf.Operation) -> list[str]:
        """What is known about the batch norm that the operation is a part of: the known one is its last sum."""
        found: list[str] = []
        parts = [part]
        for _ in range(4):  # factor, its product with the mean, the difference to beta, the sum
            found += [self.unfolded[each] for each in parts if each in self.unfolded]
            parts = [consumer for each in parts for consumer in _consumers(each)]
        return found

    def _has_range(self, operation: tf.Operation) -> bool:
        """Whether the output's codes have a meaning, or never exist: the operation is computed with the next one."""
        if operation.type not in NEEDS_A_RANGE:
            return False
        if operation in self.ranged:
            return True
        if operation.type in ("Relu", "Relu6") and operation.inputs[0].op.type in POOLS:
            return True
        chain = self.chains.get(operation, frozenset())
        following = [each for each in _seen_through_batch_to_space(operation) if each in self.on_path]
        return bool(following) and all(each in chain and not self._adds_data(operation, each) for each in following)

    def _adds_data(self, layer: tf.Operation, addition: tf.Operation) -> bool:
        """Whether another branch's values are added to a layer's output where a bias would be."""
        if layer.type not in LAYER_TYPES:
            return False
        sources = {tensor.op for tensor in addition.inputs} & self.on_path
        return len(sources) > 1

    def _scope(self) -> str:
        """The name scope that the whole network stands in: "CifarNet/", or ''."""
        first = {operation.name.partition("/")[0] for operation in self.operations}
        return f"{first.pop()}/" if len(first) == 1 else ""


def _operation(graph: tf.Graph, name: str) -> tf.Operation:
    try:
        return graph.get_operation_by_name(name.partition(":")[0])
    except KeyError:
        raise RewriteError("The network has no such operation.", [("operation", name)]) from None


def _values(operation: tf.Operation) -> Iterable[tf.Tensor]:
    """The inputs that carry the network's values: shapes and axes are integers, and do not count."""
    return [tensor for tensor in operation.inputs if tensor.dtype.is_floating]


def _consumers(operation: tf.Operation) -> list[tf.Operation]:
    return [each for tensor in operation.outputs if tensor.dtype.is_floating for each in tensor.consumers()]


def _closure(
    roots: Iterable[tf.Operation], step: Callable[[tf.Operation], Iterable[tf.Operation]]
) -> set[tf.Operation]:
    """Everything that can be reached from the roots by single steps, the roots included."""
    seen: set[tf.Operation] = set()
    waiting = list(roots)
    while waiting:
        operation = waiting.pop()
        if operation not in seen:
            seen.add(operation)
            waiting.extend(step(operation))
    return seen


def _chain(match: LayerMatch) -> frozenset[tf.Operation]:
    chain = (match.layer, match.bias_add, match.passed, match.bypass, match.activation)
    return frozenset(operation for operation in chain if operation is not None)


def _seen_through_batch_to_space(operation: tf.Operation) -> list[tf.Operation]:
    """The consumers; BatchToSpaceND behind an atrous convolution becomes part of it."""
    following: list[tf.Operation] = []
    for consumer in operation.outputs[0].consumers():
        following += _seen_through_batch_to_space(consumer) if consumer.type == "BatchToSpaceND" else [consumer]
    return following


def _layer_name(operation: tf.Operation, scope: str) -> str:
    """The operation's layer within the network: "conv1" of "CifarNet/conv1/Conv2D", "norm1" of "CifarNet/norm1"."""
    name = str(operation.name).removeprefix(scope)
    before, standardization, inside = name.partition("per_image_standardization")
    if inside:  # its operations are spread over scopes of their own
        return before + standardization
    return parent(name) or name
