"""The rewrite of mode integer: model everything that the integer runtime rounds, or refuse the network.

    examine the network (check)  ->  the converter's spelling  ->  fold the inputs' scalings, fold the batch norms
        ->  insert the FakeQuants  ->  round biases and slopes

All refusals come before the first edit of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import tensorflow as tf

from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable
from qatbuild.quantize.batch_norm.fold import fold
from qatbuild.quantize.batch_norm.training_fold import fold_in_training
from qatbuild.quantize.graph.fake_quant import FAKE_QUANT_TYPES
from qatbuild.quantize.graph.integer_ops import OPS
from qatbuild.quantize.graph.layer_ops import TRANSPOSED_TYPES
from qatbuild.quantize.graph.names import tensor_name
from qatbuild.quantize.graph.refusals import refuse_uneditable
from qatbuild.quantize.graph.rewire import replace_input
from qatbuild.quantize.graph.walk import consumers
from qatbuild.quantize.integer.check import Examined, examine
from qatbuild.quantize.integer.fold_inputs import Offset, fold_inputs, foldable
from qatbuild.quantize.integer.insertion import BiasSite, Insertion, Site
from qatbuild.quantize.integer.pooled import behind_pool
from qatbuild.quantize.integer.range_plan import PlannedFakeQuant, input_number
from qatbuild.quantize.integer.spelling import requantizable, spell
from qatbuild.quantize.integer.standalone import insert_layer
from qatbuild.quantize.options import Options
from qatbuild.quantize.rewrite_report import FoldedBatchNorm, QuantizedTensor, RewriteReport, SharedTensor

v1 = tf.compat.v1

_QUANTIZED_DIMENSION = {"Conv2D": 3, "DepthwiseConv2dNative": 2}
"""First axis of the weights that belongs to the output channels; layers of other types have one range per tensor."""


def rewrite_training(graph: tf.Graph, options: Options, inputs: Sequence[str], ends: Sequence[str]) -> RewriteReport:
    """Inserts FakeQuants that learn their ranges, in place; see quantize.modes."""
    return _Rewrite(graph, options, inputs, ends, training=True).apply()


def rewrite_inference(graph: tf.Graph, options: Options, inputs: Sequence[str], ends: Sequence[str]) -> RewriteReport:
    """Inserts FakeQuants with fixed ranges, in place; see quantize.modes."""
    return _Rewrite(graph, options, inputs, ends, training=False).apply()


def plan_inference(graph: tf.Graph, options: Options, inputs: Sequence[str], ends: Sequence[str]) -> RewriteReport:
    """Folds the batch norms, in place, and returns the report of `rewrite_inference` without inserting anything."""
    return _Rewrite(graph, options, inputs, ends, training=False).apply(insert=False)


@dataclass(frozen=True)
class _FoldedLayer:
    """The tensors of a layer after its batch norm was folded; weights and bias are those of inference."""

    layer: tf.Operation
    weights: tf.Tensor
    bias: tf.Tensor
    output: tf.Tensor


class _Rewrite:
    """The rewrite of one graph, applied once."""

    def __init__(
        self, graph: tf.Graph, options: Options, inputs: Sequence[str], ends: Sequence[str], *, training: bool
    ) -> None:
        """Examines the graph without changing it; RewriteError if it cannot become fully integer."""
        refuse_uneditable(graph)
        self._graph, self._options, self._training, self._names = graph, options, training, (inputs, ends)
        self._offsets: dict[tf.Operation, Offset] = {}
        self._existing = [each for each in graph.get_operations() if each.type in FAKE_QUANT_TYPES]
        if not self._existing:
            self._path, self._ops, self._plan = self._examine()

    def _examine(self) -> Examined:
        return examine(self._graph, self._options, *self._names, {}, training=self._training)

    def apply(self, *, insert: bool = True) -> RewriteReport:
        """Folds the batch norms and inserts the FakeQuants, in place; a graph that has FakeQuants is not changed."""
        if self._existing:
            return RewriteReport(shared=tuple(_shared(each) for each in self._existing))
        with self._graph.as_default(), v1.name_scope(None), tf.control_dependencies(None):
            self._spell()
            folded, records = self._fold()
            sites = list(self._sites(folded))
            if insert:
                insertion = Insertion(self._path.inputs, self._ops, self._options, sites, training=self._training)
                biases = list(self._biases(folded))
                insertion.fake_quantize()
                insertion.round_biases(biases)
                insertion.round_slopes()
                self._leave_out_clips()
        rows = tuple(_row(site) for site in sites)
        return RewriteReport(folded=tuple(records), quantized=rows, left_float=self._plan.left_float)

    def _spell(self) -> None:
        """Gives standalone batch norms their layers, and the graph the converter's spelling; examines it anew.

        Then it folds products and sums at the inputs into their layers.
        """
        scaled = foldable(self._path)
        edits = self._graph.version
        for op in self._ops:
            if isinstance(op.norm, Unfoldable):
                insert_layer(op.norm)
        self._rename(spell(self._path, training=self._training))
        if self._graph.version != edits:
            self._path, self._ops, self._plan = self._examine()
        if scaled:
            self._offsets, renamed = fold_inputs(self._path, scaled)
            self._rename(renamed)
            self._path, self._ops, self._plan = self._examine()

    def _rename(self, new_names: Mapping[str, str]) -> None:
        """Takes the tensors at the ends by their new names, where they were written anew."""
        inputs, ends = self._names
        self._names = inputs, [new_names.get(tensor_name(each), each) for each in ends]
        ranges = self._options.output_ranges
        renamed = {new_names.get(tensor_name(name), name): each for name, each in ranges.items()}
        self._options = replace(self._options, output_ranges=renamed)

    def _leave_out_clips(self) -> None:
        """Lets the FakeQuant behind a clip read what the clip reads: the range clips alike, and has an integer form."""
        for op in [] if self._training else self._ops:
            if op.clip is not None:
                value = next(each for each in op.clip.inputs if tf.get_static_value(each) is None)
                value = requantizable(value) if op.clip is op.operation else value
                replace_input(consumers(op.output), op.output, value)

    def _fold(self) -> tuple[Mapping[int, _FoldedLayer], list[FoldedBatchNorm]]:
        """Folds the batch norms; returns the folded layers by the index of their fused op, and the report's records."""
        freeze = self._options.freeze_bn_delay_steps if self._training else None
        folded: dict[int, _FoldedLayer] = {}
        records: list[FoldedBatchNorm] = []
        for index, op in enumerate(self._ops):
            norm = op.norm
            if not isinstance(norm, BatchNorm):
                continue
            # A layer that is also read without its batch norm keeps its own weights, beside the folded copy; and a
            # batch norm that is frozen in the float graph is folded in training as it is for inference.
            in_place = norm.training and norm.layer not in self._plain_layers()
            record = fold_in_training(norm, freeze) if in_place else fold(norm, freeze)
            if in_place and norm.layer in self._offsets:
                # The batch's mean has the sum of the quantized weights.
                offset = self._offsets.pop(norm.layer)
                replace_input([offset.product], offset.product.inputs[0], norm.layer.inputs[1])
            names = (record.weights, record.bias, record.output)
            weights, bias, output = (self._graph.get_tensor_by_name(name) for name in names)
            complete = output if op.output is norm.result else op.output
            folded[index] = _FoldedLayer(norm.layer, weights, bias, complete)
            records.append(record)
        return folded, records

    def _sites(self, folded: Mapping[int, _FoldedLayer]) -> Iterator[Site]:
        """Returns the planned FakeQuants, one per tensor, with the tensors' consumers before any is inserted."""
        seen: set[str] = set()
        for planned in self._plan.fake_quants:
            site = self._site(planned, folded)
            if planned.place == "joined":
                yield site
            elif site.tensor.name not in seen:
                seen.add(site.tensor.name)
                yield site

    def _site(self, planned: PlannedFakeQuant, folded: Mapping[int, _FoldedLayer]) -> Site:
        spec = self._plan.ranges[planned.range]
        if planned.op < 0:
            source = self._path.inputs[input_number(planned.op)]
            return Site(planned, spec, source, consumers(source))
        op, layer = self._ops[planned.op], folded.get(planned.op)
        if planned.operand is not None:
            return Site(planned, spec, planned.operand, (op.operation,))
        if planned.position is not None:
            return Site(planned, spec, op.operation.inputs[planned.position], (op.operation,))
        if planned.place == "output":
            output = op.output if layer is None else layer.output
            if self._training:
                output = behind_pool(output)
            return Site(planned, spec, output, consumers(output))
        weights_op = op.weights_op if layer is None else layer.layer
        assert weights_op is not None
        if layer is None:
            weights = weights_op.inputs[OPS[weights_op.type].weights]
            # Only layers read the fake-quantized weights: weight decay still reads the float ones.
            readers = tuple(each for each in consumers(weights) if each is weights_op or each in self._plain_layers())
        else:
            weights, readers = layer.weights, consumers(layer.weights)
        per_channel = self._options.scheme == "int8_per_channel"
        dimension = _QUANTIZED_DIMENSION.get(weights_op.type) if per_channel else None
        return Site(planned, spec, weights, readers, dimension)

    def _biases(self, folded: Mapping[int, _FoldedLayer]) -> Iterator[BiasSite]:
        for planned in self._plan.fake_quants:
            layer, input_range = folded.get(planned.op), self._plan.input_ranges.get(planned.op)
            if planned.place == "weights" and input_range is not None:
                bias = self._ops[planned.op].bias if layer is None else layer.bias
                if bias is not None:
                    prefix = planned.prefix.replace("weights_quant", "bias_quant")
                    weights_range = self._plan.ranges[planned.range]
                    weights_op = self._ops[planned.op].weights_op if layer is None else layer.layer
                    transposed = weights_op is not None and weights_op.type in TRANSPOSED_TYPES
                    offset = None
                    if weights_op is not None and weights_op in self._offsets:
                        weights = weights_op.inputs[OPS[weights_op.type].weights] if layer is None else layer.weights
                        offset = self._offsets[weights_op], weights
                    yield BiasSite(
                        planned.op, prefix, bias, consumers(bias), input_range, weights_range, transposed, offset
                    )

    def _plain_layers(self) -> set[tf.Operation]:
        """Returns the layers without a batch norm."""
        return {op.weights_op for op in self._ops if op.weights_op is not None and op.norm is None}


def _row(site: Site) -> QuantizedTensor:
    learnt = site.range.fixed is None
    return QuantizedTensor(
        layer=site.planned.layer,
        role=site.planned.role,
        tensor=site.tensor.name,
        consumers=tuple(each.name for each in site.consumers),
        min_variable=f"{site.range.prefix}/min" if learnt else "",
        max_variable=f"{site.range.prefix}/max" if learnt else "",
        bits=site.range.bits,
        narrow_range=site.range.narrow_range,
        symmetric=site.range.symmetric,
        quantized_dimension=site.quantized_dimension,
        fixed=site.range.fixed,
    )


def _shared(existing: tf.Operation) -> SharedTensor:
    role = existing.name.rpartition("/")[0].rpartition("/")[2]
    return SharedTensor(existing.name.rpartition(f"/{role}/")[0], role, existing.inputs[0].name, existing.name)
