"""The rewrite of mode tf1: fold the batch norms, find the layers, decide on the FakeQuants, insert them.

All refusals come before the first edit of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable, find_batch_norms
from qatbuild.quantize.batch_norm.fold import fold
from qatbuild.quantize.graph.fake_quant import FAKE_QUANT_TYPES
from qatbuild.quantize.graph.names import parent_scope
from qatbuild.quantize.graph.quant_delay import delayed
from qatbuild.quantize.graph.refusals import refuse_uneditable
from qatbuild.quantize.graph.rewire import replace_input
from qatbuild.quantize.options import Options
from qatbuild.quantize.rewrite_report import FoldedBatchNorm, LeftFloat, QuantizedTensor, RewriteReport, SharedTensor
from qatbuild.quantize.tf1.layers import (
    LayerMatch,
    find_layers,
    has_variable_weights,
    layer_operations,
    only_yields_statistics,
    unfolded_batch_norm,
    weights_are_fake_quantized,
    why_unmatched,
)
from qatbuild.quantize.tf1.placement import Placement, Precision, place
from qatbuild.quantize.tf1.ranges import fake_quantize, free_prefix


def rewrite_training(graph: tf.Graph, options: Options, inputs: Sequence[str], ends: Sequence[str]) -> RewriteReport:  # noqa: ARG001
    """Inserts FakeQuants that learn their ranges; see quantize.modes. `inputs` and `ends` are not used in this mode."""
    return Rewrite(
        training=True,
        precision=Precision(symmetric=options.scheme != "uint8"),
        quant_delay_steps=options.quant_delay_steps,
        freeze_delay_steps=options.freeze_bn_delay_steps,
    ).apply(graph)


def rewrite_inference(graph: tf.Graph, options: Options, inputs: Sequence[str], ends: Sequence[str]) -> RewriteReport:  # noqa: ARG001
    """Inserts FakeQuants with fixed ranges; see quantize.modes. `inputs` and `ends` are not used in this mode."""
    return Rewrite(training=False, precision=Precision(symmetric=options.scheme != "uint8")).apply(graph)


def plan_inference(graph: tf.Graph, options: Options, inputs: Sequence[str], ends: Sequence[str]) -> RewriteReport:  # noqa: ARG001
    """Folds the batch norms, and returns the report of `rewrite_inference` without inserting anything."""
    return Rewrite(training=False, precision=Precision(symmetric=options.scheme != "uint8")).plan(graph)


@dataclass(frozen=True)
class Rewrite:
    """The settings of one rewrite.

    `quant_delay_steps` 0: quantized from the first step. `scope`: only layers in this name scope, '' for all.
    `freeze_delay_steps` None: batch norms use their batches' statistics to the end.
    """

    training: bool
    precision: Precision = field(default_factory=Precision)
    quant_delay_steps: int = 0
    scope: str = ""
    freeze_delay_steps: int | None = None

    def apply(self, graph: tf.Graph) -> RewriteReport:
        """Rewrites `graph` in place.

        RewriteError if it cannot be rewritten: it is finalized, inside a tf.function, has optimizer operations or a
        batch norm that cannot be folded into its layer, or has no layer that could be quantized.
        """
        folded, placements, left_float = self._prepare(graph)
        quantized, shared = self._insert(graph, placements)
        return RewriteReport(folded=folded, quantized=quantized, shared=shared, left_float=left_float)

    def plan(self, graph: tf.Graph) -> RewriteReport:
        """Folds the batch norms of `graph` in place, and returns the report of `apply` without inserting FakeQuants."""
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
        """Folds the batch norms; returns their records, the FakeQuants to insert, and the layers that stay float."""
        refuse_uneditable(graph)
        batch_norms = find_batch_norms(graph, training=self.training)
        _refuse_unfoldable_layers(graph, batch_norms)
        foldable = [each for each in batch_norms if isinstance(each, BatchNorm)]
        self._refuse_graphs_without_layers(graph, foldable)
        folded = self._fold(graph, foldable)
        matches = find_layers(graph)
        placements = [each for match in matches for each in place(match, self.precision, self.scope)]
        return folded, placements, (*_unmatched(graph, matches), *_unfoldable(batch_norms))

    def _refuse_graphs_without_layers(self, graph: tf.Graph, foldable: list[BatchNorm]) -> None:
        """Raises a RewriteError if nothing could be quantized. A layer whose batch norm will be folded counts."""
        matches = find_layers(graph)
        behind = [each.layer for each in foldable if has_variable_weights(each.layer)]
        if not matches and not behind and not any(map(weights_are_fake_quantized, layer_operations(graph))):
            unmatched = [(left.layer, f"{left.operation}: {left.reason}") for left in _unmatched(graph, matches)]
            hint = "" if unmatched else "Call it after the network has been built, on the network's own graph."
            raise RewriteError("The graph has no layer that could be quantized: nothing was changed.", unmatched, hint)
        layers = [*(match.layer for match in matches), *behind]
        inside = any(layer.name.startswith(self.scope) for layer in layers)
        if layers and not inside and not any(any(place(match, self.precision, self.scope)) for match in matches):
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
        fake_quantized: dict[str, tf.Tensor] = {}
        # Names and variables do not depend on the name scope and device of the caller.
        with graph.as_default(), tf.compat.v1.name_scope(None), tf.control_dependencies(None):
            for placement in placements:
                existing = _fake_quant_of(placement.tensor)
                if existing is not None:
                    shared.append(SharedTensor(placement.layer, placement.role, placement.tensor.name, existing.name))
                    if placement.role == "weights_quant" and placement.tensor.name in fake_quantized:
                        replace_input(placement.consumers, placement.tensor, fake_quantized[placement.tensor.name])
                    continue
                prefix = free_prefix(graph, placement.prefix)
                quantized_tensor = fake_quantized[placement.tensor.name] = self._fake_quantize(placement, prefix)
                replace_input(placement.consumers, placement.tensor, quantized_tensor)
                quantized.append(_record(placement, prefix))
        return tuple(quantized), tuple(shared)

    def _fake_quantize(self, placement: Placement, prefix: str) -> tf.Tensor:
        quantized = fake_quantize(placement, prefix, training=self.training)
        if self.quant_delay_steps > 0:
            return delayed(quantized, placement.tensor, prefix, self.quant_delay_steps)
        return quantized


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
    """Returns the layers that were not matched and are not quantized already."""
    matched = {match.layer for match in matches}
    return tuple(
        LeftFloat(parent_scope(layer.name) or layer.name, layer.name, why_unmatched(layer))
        for layer in layer_operations(graph)
        if layer not in matched and not weights_are_fake_quantized(layer) and not only_yields_statistics(layer)
    )


def _unfoldable(batch_norms: tuple[BatchNorm | Unfoldable, ...]) -> tuple[LeftFloat, ...]:
    reported = (each for each in batch_norms if isinstance(each, Unfoldable))
    return tuple(
        LeftFloat(
            parent_scope(each.operation.name) or each.operation.name, each.operation.name, f"BatchNorm: {each.why}"
        )
        for each in reported
    )


def _refuse_unfoldable_layers(graph: tf.Graph, batch_norms: tuple[BatchNorm | Unfoldable, ...]) -> None:
    """Raises a RewriteError for a batch norm that cannot be folded into its layer, which would get no range either."""
    foldable = {each.layer for each in batch_norms if isinstance(each, BatchNorm)}
    reasons = {each.layer: each for each in batch_norms if isinstance(each, Unfoldable) and each.layer is not None}
    refused: list[tuple[str, object]] = []
    for layer in layer_operations(graph):
        operation, why = unfolded_batch_norm(layer), "unknown form of a batch norm"
        if layer in reasons:
            operation, why = reasons[layer].operation, reasons[layer].why
        if operation is not None and layer not in foldable:
            refused.append((layer.name, f"BatchNorm: {operation.name} ({operation.type}): {why}"))
    if refused:
        raise RewriteError(
            "Batch normalization cannot be folded into its layer: nothing was changed.",
            refused,
            "Build it as tf.compat.v1.nn.fused_batch_norm or tf.nn.batch_normalization directly behind the layer.",
        )
