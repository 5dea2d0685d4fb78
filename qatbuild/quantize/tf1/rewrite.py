"""The rewrite: fold the batch norms, find the layers, decide on the FakeQuants, insert them.

Nothing in the graph is changed before everything that could refuse it has been looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable, find_batch_norms
from qatbuild.quantize.batch_norm.fold import fold
from qatbuild.quantize.graph.quant_delay import delayed
from qatbuild.quantize.graph.rewire import replace_input
from qatbuild.quantize.rewrite_report import FoldedBatchNorm, LeftFloat, QuantizedTensor, RewriteReport, SharedTensor
from qatbuild.quantize.tf1.layers import (
    FAKE_QUANT_TYPES,
    LayerMatch,
    find_layers,
    has_variable_weights,
    layer_operations,
    only_yields_statistics,
    unfolded_batch_norm,
    weights_are_fake_quantized,
    why_unmatched,
)
from qatbuild.quantize.tf1.placement import Numbers, Placement, parent, place
from qatbuild.quantize.tf1.ranges import fake_quantize, free_prefix

_APPLIES_GRADIENTS = re.compile(r"(Resource)?(Sparse)?Apply[A-Z]")


@dataclass(frozen=True)
class Rewrite:
    """How a graph is to be rewritten.

    `quant_delay_steps` 0: quantized from the first step; `scope` '': everywhere; `freeze_delay_steps` None: batch norms
    follow their batches to the end.
    """

    training: bool
    numbers: Numbers = field(default_factory=Numbers)
    quant_delay_steps: int = 0
    scope: str = ""
    freeze_delay_steps: int | None = None

    def apply(self, graph: tf.Graph) -> RewriteReport:
        """Rewrite `graph` in place.

        RewriteError if it cannot be rewritten (finalized, inside a tf.function, with optimizer operations, with a
        batch norm behind a layer that cannot be folded into it) or has no layer that could be quantized.
        """
        folded, placements, left_float = self._prepare(graph)
        quantized, shared = self._insert(graph, placements)
        return RewriteReport(folded=folded, quantized=quantized, shared=shared, left_float=left_float)

    def plan(self, graph: tf.Graph) -> RewriteReport:
        """Fold the batch norms of `graph`, in place, and say what `apply` would insert; RewriteError as there."""
        folded, placements, left_float = self._prepare(graph)
        rows: dict[str, QuantizedTensor] = {}
        taken: set[str] = set()
        for each in placements:
            if each.tensor.name not in rows and _fake_quant_of(each.tensor) is None:
                prefix = free_prefix(graph, each.prefix, taken)
                taken.add(f"{prefix}/min")
                rows[each.tensor.name] = _record(each, prefix)
        return RewriteReport(folded=folded, quantized=tuple(rows.values()), left_float=left_float)

    def _prepare(self, graph: tf.Graph) -> tuple[tuple[FoldedBatchNorm, ...], list[Placement], tuple[LeftFloat, ...]]:
        """Everything up to the insertion: batch norms folded, FakeQuants decided on."""
        refuse_closed_graphs(graph)
        refuse_optimizers(graph)
        batch_norms = find_batch_norms(graph, training=self.training)
        _refuse_unfoldable_layers(graph, batch_norms)
        foldable = [each for each in batch_norms if isinstance(each, BatchNorm)]
        self._refuse_graphs_without_layers(graph, foldable)
        folded = self._fold(graph, foldable)
        matches = find_layers(graph)
        placements = [each for match in matches for each in place(match, self.numbers, self.scope)]
        return folded, placements, (*_unmatched(graph, matches), *_standalone(batch_norms))

    def _refuse_graphs_without_layers(self, graph: tf.Graph, foldable: list[BatchNorm]) -> None:
        """RewriteError if nothing could be quantized. A layer whose batch norm is folded will be one that can."""
        matches = find_layers(graph)
        behind = [each.layer for each in foldable if has_variable_weights(each.layer)]
        if not matches and not behind and not any(map(weights_are_fake_quantized, layer_operations(graph))):
            raise RewriteError(
                "The graph has no layer that could be quantized: nothing was changed.",
                [(left.layer, f"{left.operation}: {left.reason}") for left in _unmatched(graph, matches)],
                "Call it after the network has been built, in the graph that it was built in.",
            )
        layers = [*(match.layer for match in matches), *behind]
        inside = any(layer.name.startswith(self.scope) for layer in layers)
        if layers and not inside and not any(any(place(match, self.numbers, self.scope)) for match in matches):
            raise RewriteError(
                "The name scope holds no layer: nothing was changed.",
                [("scope", self.scope), ("layers", ", ".join(layer.name for layer in layers))],
            )

    def _fold(self, graph: tf.Graph, foldable: list[BatchNorm]) -> tuple[FoldedBatchNorm, ...]:
        with graph.as_default(), tf.compat.v1.name_scope(None), tf.control_dependencies(None):
            return tuple(fold(each, self.freeze_delay_steps) for each in foldable)

    def _insert(
        self, graph: tf.Graph, placements: list[Placement]
    ) -> tuple[tuple[QuantizedTensor, ...], tuple[SharedTensor, ...]]:
        quantized: list[QuantizedTensor] = []
        shared: list[SharedTensor] = []
        twins: dict[str, tf.Tensor] = {}
        # Names and variables are the layers' own, whatever scope and device the caller stands in.
        with graph.as_default(), tf.compat.v1.name_scope(None), tf.control_dependencies(None):
            for placement in placements:
                existing = _fake_quant_of(placement.tensor)
                if existing is not None:
                    shared.append(SharedTensor(placement.layer, placement.role, placement.tensor.name, existing.name))
                    if placement.role == "weights_quant" and placement.tensor.name in twins:
                        replace_input(placement.consumers, placement.tensor, twins[placement.tensor.name])
                    continue
                prefix = free_prefix(graph, placement.prefix)
                twins[placement.tensor.name] = self._twin(placement, prefix)
                replace_input(placement.consumers, placement.tensor, twins[placement.tensor.name])
                quantized.append(_record(placement, prefix))
        return tuple(quantized), tuple(shared)

    def _twin(self, placement: Placement, prefix: str) -> tf.Tensor:
        twin = fake_quantize(placement, prefix, training=self.training)
        if self.quant_delay_steps > 0:
            return delayed(twin, placement.tensor, prefix, self.quant_delay_steps)
        return twin


def _record(placement: Placement, prefix: str) -> QuantizedTensor:
    return QuantizedTensor(
        layer=placement.layer,
        role=placement.role,
        tensor=placement.tensor.name,
        consumers=tuple(consumer.name for consumer in placement.consumers),
        min_variable=f"{prefix}/min",
        max_variable=f"{prefix}/max",
        bits=placement.bits,
        narrow_range=placement.narrow_range,
        symmetric=placement.symmetric,
    )


def _fake_quant_of(tensor: tf.Tensor) -> tf.Operation | None:
    return next((consumer for consumer in tensor.consumers() if consumer.type in FAKE_QUANT_TYPES), None)


def _unmatched(graph: tf.Graph, matches: tuple[LayerMatch, ...]) -> tuple[LeftFloat, ...]:
    """The layers that were not matched and are not quantized already either."""
    matched = {match.layer for match in matches}
    return tuple(
        LeftFloat(parent(layer.name) or layer.name, layer.name, why_unmatched(layer))
        for layer in layer_operations(graph)
        if layer not in matched and not weights_are_fake_quantized(layer) and not only_yields_statistics(layer)
    )


def _standalone(batch_norms: tuple[BatchNorm | Unfoldable, ...]) -> tuple[LeftFloat, ...]:
    alone = (each for each in batch_norms if isinstance(each, Unfoldable))
    return tuple(
        LeftFloat(parent(each.operation.name) or each.operation.name, each.operation.name, f"BatchNorm: {each.why}")
        for each in alone
    )


def _refuse_unfoldable_layers(graph: tf.Graph, batch_norms: tuple[BatchNorm | Unfoldable, ...]) -> None:
    """RewriteError for a batch norm behind a layer: left alone, it would leave the layer without a range as well."""
    foldable = {each.layer for each in batch_norms if isinstance(each, BatchNorm)}
    reasons = {each.layer: each for each in batch_norms if isinstance(each, Unfoldable) and each.layer is not None}
    refused: list[tuple[str, object]] = []
    for layer in layer_operations(graph):
        operation, why = unfolded_batch_norm(layer), "its form is not one that is known"
        if layer in reasons:
            operation, why = reasons[layer].operation, reasons[layer].why
        if operation is not None and layer not in foldable:
            refused.append((layer.name, f"BatchNorm: {operation.name} ({operation.type}): {why}"))
    if refused:
        raise RewriteError(
            "Batch normalization cannot be folded into its layer: nothing was changed.",
            refused,
            "Build it as tf.compat.v1.nn.fused_batch_norm or tf.nn.batch_normalization straight behind the layer.",
        )


def refuse_closed_graphs(graph: tf.Graph) -> None:
    """RewriteError if nothing can be added to the graph, or nothing that is added would be of use."""
    if graph.building_function:
        raise RewriteError(
            "A graph inside a tf.function cannot be rewritten.",
            hint="Build the network in a tf.Graph and run it in a tf.compat.v1.Session.",
        )
    if graph.finalized:
        raise RewriteError(
            "The graph is finalized and cannot be rewritten.",
            hint="Rewrite it before a session (MonitoredTrainingSession, Supervisor) takes it over.",
        )


def refuse_optimizers(graph: tf.Graph) -> None:
    """RewriteError if gradients have been made of the network as it is."""
    found = [each for each in graph.get_operations() if _APPLIES_GRADIENTS.match(each.type)]
    if found:
        raise RewriteError(
            "The graph already trains: an optimizer's operations are in it, and its gradients are those of the "
            "network without quantization.",
            [(each.type, each.name) for each in found[:10]],
            "Rewrite the graph after the loss is built and before the optimizer's minimize().",
        )
