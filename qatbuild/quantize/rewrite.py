"""The rewrite: find the layers, decide on the FakeQuants, insert them.

Nothing in the graph is changed before everything that could refuse it has been looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import tensorflow as tf

from qatbuild.errors import RewriteError
from qatbuild.quantize.gate import delayed
from qatbuild.quantize.layers import (
    FAKE_QUANT_TYPES,
    LayerMatch,
    find_layers,
    layer_operations,
    unfolded_batch_norm,
    weights_are_fake_quantized,
    why_unmatched,
)
from qatbuild.quantize.outcome import LeftFloat, QuantizedTensor, RewriteReport, SharedTensor
from qatbuild.quantize.placement import Numbers, Placement, parent, place
from qatbuild.quantize.ranges import fake_quantize, free_prefix
from qatbuild.quantize.rewire import replace_input

_APPLIES_GRADIENTS = re.compile(r"(Resource)?(Sparse)?Apply[A-Z]")


@dataclass(frozen=True)
class Rewrite:
    """How a graph is to be rewritten. `quant_delay_steps` 0: quantized from the first step; `scope` '': everywhere."""

    training: bool
    numbers: Numbers = field(default_factory=Numbers)
    quant_delay_steps: int = 0
    scope: str = ""

    def apply(self, graph: tf.Graph) -> RewriteReport:
        """Rewrite `graph` in place.

        RewriteError if it cannot be rewritten (finalized, inside a tf.function, with optimizer operations, with a
        batch norm behind a layer) or has no layer that could be quantized.
        """
        _refuse_graphs_that_are_closed(graph)
        _refuse_optimizers(graph)
        matches = find_layers(graph)
        left_float, already = _unmatched(graph, matches)
        if not matches and not already:
            raise RewriteError(
                "The graph has no layer that could be quantized: nothing was changed.",
                [(left.layer, f"{left.operation}: {left.reason}") for left in left_float],
                "Call it after the network has been built, in the graph that it was built in.",
            )
        placements = [each for match in matches for each in place(match, self.numbers, self.scope)]
        if matches and not placements:
            raise RewriteError(
                "The name scope holds no layer: nothing was changed.",
                [("scope", self.scope), ("layers", ", ".join(match.layer.name for match in matches))],
            )
        quantized, shared = self._insert(graph, placements)
        return RewriteReport(quantized=quantized, shared=shared, left_float=left_float)

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
    )


def _fake_quant_of(tensor: tf.Tensor) -> tf.Operation | None:
    return next((consumer for consumer in tensor.consumers() if consumer.type in FAKE_QUANT_TYPES), None)


def _unmatched(graph: tf.Graph, matches: tuple[LayerMatch, ...]) -> tuple[tuple[LeftFloat, ...], bool]:
    """The layers without a match, and whether some of them are quantized already; RewriteError for a batch norm."""
    matched = {match.layer for match in matches}
    left_float: list[LeftFloat] = []
    batch_norms: list[tuple[str, object]] = []
    already = False
    for layer in layer_operations(graph):
        if layer in matched:
            continue
        if weights_are_fake_quantized(layer):
            already = True
            continue
        batch_norm = unfolded_batch_norm(layer)
        if batch_norm is not None:
            batch_norms.append((layer.name, f"BatchNorm: {batch_norm.name} ({batch_norm.type}) is not folded"))
        left_float.append(LeftFloat(parent(layer.name) or layer.name, layer.name, why_unmatched(layer)))
    if batch_norms:
        raise RewriteError(
            "Folding batch normalization into its layer is not supported yet: nothing was changed.",
            batch_norms,
            "Build the network with biases instead of batch normalization.",
        )
    return tuple(left_float), already


def _refuse_graphs_that_are_closed(graph: tf.Graph) -> None:
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


def _refuse_optimizers(graph: tf.Graph) -> None:
    found = [each for each in graph.get_operations() if _APPLIES_GRADIENTS.match(each.type)]
    if found:
        raise RewriteError(
            "The graph already trains: an optimizer's operations are in it, and its gradients are those of the "
            "network without quantization.",
            [(each.type, each.name) for each in found[:10]],
            "Rewrite the graph after the loss is built and before the optimizer's minimize().",
        )
