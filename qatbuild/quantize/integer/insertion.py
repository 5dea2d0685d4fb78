"""Inserts planned FakeQuants into a graph: their ranges, the fake-quantized tensors, the rounded biases.

In training a shared range is learnt from all its tensors, and one of them may be computed from another:

    x --FakeQuant--> x' --layer--> y --FakeQuant--> y'         concat(x', y'): x and y share the range R
          |                                |
        R[t-1]                            R[t] = learn(R[t-1], x, y)

x' is needed to compute y, so it cannot wait for R[t]: it uses R as it was after the previous step. y' uses R[t]. The
same holds for a bias, which is rounded to the scale of its layer's input: it uses R[t-1] if R is learnt from the
layer's own output or from a tensor computed from it. In inference both are the variables' values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import tensorflow as tf

from qatbuild.quantize.graph.names import join, parent_scope
from qatbuild.quantize.graph.quant_delay import delayed
from qatbuild.quantize.graph.rewire import replace_input
from qatbuild.quantize.graph.walk import consumers
from qatbuild.quantize.integer.biases import rounded, rounding_error
from qatbuild.quantize.integer.fold_inputs import Offset
from qatbuild.quantize.integer.fused_ops import FusedOp
from qatbuild.quantize.integer.learning import LearntRange, RangeTensors, observe
from qatbuild.quantize.integer.prelu import rounded_slope
from qatbuild.quantize.integer.range_plan import PlannedFakeQuant, RangeSpec, input_index
from qatbuild.quantize.integer.spelling import requantizable
from qatbuild.quantize.options import Options

v1 = tf.compat.v1


@dataclass(frozen=True)
class Site:
    """One FakeQuant to insert: on `tensor`, read by `consumers`, with a range per index of `quantized_dimension`."""

    planned: PlannedFakeQuant
    range: RangeSpec
    tensor: tf.Tensor
    consumers: tuple[tf.Operation, ...]
    quantized_dimension: int | None = None

    @property
    def channels(self) -> int | None:
        """The number of its ranges, or None for one range for the whole tensor."""
        dimension = self.quantized_dimension
        return None if dimension is None else int(self.tensor.shape[dimension:].num_elements())


@dataclass(frozen=True)
class BiasSite:
    """One bias to round, of the fused op with the index `op`, and the ranges of the layer's input and weights.

    `offset`: a part of the bias that is of the float weights, with these, and should be of the quantized ones.
    """

    op: int
    prefix: str
    tensor: tf.Tensor
    consumers: tuple[tf.Operation, ...]
    input_range: RangeSpec
    weights_range: RangeSpec
    transposed: bool
    offset: tuple[Offset, tf.Tensor] | None = None


class _Learnt(NamedTuple):
    """The values of one range: after the previous step, and with this step's values."""

    previous: RangeTensors
    updated: RangeTensors


class Insertion:
    """Inserts the FakeQuants of one graph."""

    def __init__(
        self,
        inputs: Sequence[tf.Tensor],
        ops: Sequence[FusedOp],
        options: Options,
        sites: Sequence[Site],
        *,
        training: bool,
    ) -> None:
        """Prepares the insertion of `sites`; the graph is not changed."""
        self._ops, self._options, self._sites, self._training = ops, options, sites, training
        self._ancestors = _ancestors(ops, inputs)
        self._outputs = {site.planned.op: site.tensor for site in sites if site.planned.place in {"input", "output"}}
        self._ranges: dict[str, _Learnt] = {}

    def fake_quantize(self) -> None:
        """Inserts all FakeQuants, in the order of the plan."""
        for each in self._sites:
            # A joined tensor may have got its own FakeQuant meanwhile.
            position = each.planned.position
            site = each if position is None else replace(each, tensor=each.consumers[0].inputs[position])
            learnt = self._range(site)
            tensors = learnt.previous if self._precedes(site.planned.op, site.range) else learnt.updated
            self._replace(site, site.planned.prefix, _fake_quant(site, tensors, training=self._training))

    def round_biases(self, biases: Sequence[BiasSite]) -> None:
        """Rounds the biases; call it after `fake_quantize`. In training their gradients pass straight through."""
        for site in biases:
            learnt, spec = self._ranges[site.input_range.prefix], site.input_range
            observes = site.op in spec.observed
            tensors = learnt.previous if observes or self._precedes(site.op, spec) else learnt.updated
            weights = site.weights_range, self._ranges[site.weights_range.prefix].updated
            with v1.name_scope(f"{site.prefix}/"):
                never_zero = site.transposed and not self._training
                correction = None
                if site.offset is not None:
                    offset, float_weights = site.offset
                    correction = offset.of(rounding_error(float_weights, *weights))
                bias = rounded(
                    site.tensor,
                    (spec, tensors),
                    weights,
                    training=self._training,
                    never_zero=never_zero,
                    correction=correction,
                )
            self._replace(site, site.prefix, bias)

    def round_slopes(self) -> None:
        """Rounds the slopes of PReLUs; in training their gradients pass straight through."""
        for op in self._ops:
            if op.slope is None:
                continue
            scope = parent_scope(op.operation.name)
            with v1.name_scope(join(scope, "slope_quant")) as prefix:
                slope = rounded_slope(op.slope, self._options.scheme, training=self._training)
                if self._training and self._options.quant_delay_steps > 0:
                    slope = delayed(slope, op.slope, prefix.rstrip("/"), self._options.quant_delay_steps)
            replace_input([each for each in consumers(op.slope) if each in op.inner], op.slope, slope)

    def _replace(self, site: Site | BiasSite, prefix: str, quantized: tf.Tensor) -> None:
        """Lets the site's consumers read `quantized`, in training only from the end of the quant_delay on."""
        if self._training and self._options.quant_delay_steps > 0:
            quantized = delayed(quantized, site.tensor, prefix, self._options.quant_delay_steps)
        replace_input(site.consumers, site.tensor, quantized)

    def _precedes(self, op: int, spec: RangeSpec) -> bool:
        """Returns whether a tensor from which the range is learnt is computed from the fused op's output."""
        return any(op in self._ancestors[each] for each in spec.observed if each >= 0)

    def _range(self, site: Site) -> _Learnt:
        """Returns the values of the site's range; they are made with its first site."""
        key = site.range.prefix
        if key not in self._ranges:
            self._ranges[key] = self._make_range(site)
        return self._ranges[key]

    def _make_range(self, site: Site) -> _Learnt:
        spec = site.range
        if spec.fixed is not None:
            with v1.name_scope(f"{spec.prefix}/"):
                fixed = RangeTensors(
                    tf.constant(spec.fixed[0], tf.float32, name="fixed_min"),
                    tf.constant(spec.fixed[1], tf.float32, name="fixed_max"),
                )
            return _Learnt(fixed, fixed)
        learnt = LearntRange(spec.prefix, site.channels)
        previous = learnt.read()
        if not self._training:
            return _Learnt(previous, previous)
        tensors = [self._outputs[each] for each in spec.observed] or [site.tensor]
        with v1.name_scope(f"{spec.prefix}/"):
            observed = observe(tensors, symmetric=spec.symmetric, quantized_dimension=site.quantized_dimension)
        return _Learnt(previous, learnt.learn(observed, spec.learns, after=(previous.min, previous.max)))


def _fake_quant(site: Site, tensors: RangeTensors, *, training: bool) -> tf.Tensor:
    """Returns the site's tensor fake-quantized, float32 of the same shape."""
    name, settings = "FakeQuantWithMinMaxVars", (site.range.bits, site.range.narrow_range)
    with v1.name_scope(f"{site.planned.prefix}/"):
        if site.quantized_dimension is None:
            joined = site.planned.position is not None and not training
            tensor = requantizable(site.tensor) if joined else site.tensor
            return tf.quantization.fake_quant_with_min_max_vars(tensor, tensors.min, tensors.max, *settings, name=name)
        # The op's channels are the last axis. The converter accepts the weights of a depthwise layer, [height, width,
        # channels, multiplier], only in this shape.
        shape, kernel = site.tensor.shape.as_list(), site.tensor
        flat = site.quantized_dimension < len(shape) - 1
        if flat:
            kernel = tf.reshape(kernel, [*shape[:2], 1, site.channels], name="by_channel")
        quantized = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            kernel, tensors.min, tensors.max, *settings, name=f"{name}PerChannel"
        )
        return tf.reshape(quantized, shape, name="as_weights") if flat else quantized


def _ancestors(ops: Sequence[FusedOp], inputs: Sequence[tf.Tensor]) -> list[set[int]]:
    """Returns for each fused op the indices of the fused ops and inputs on which its output depends."""
    makers = {tensor.name: {input_index(number)} for number, tensor in enumerate(inputs)}
    all_inputs = set().union(*makers.values())
    ancestors: list[set[int]] = []
    for index, op in enumerate(ops):
        before = set().union(*(makers.get(tensor.name, all_inputs) for tensor in op.sources))
        ancestors.append(before)
        for tensor in (*op.operation.outputs, op.output):
            makers[tensor.name] = before | {index}
    return ancestors
