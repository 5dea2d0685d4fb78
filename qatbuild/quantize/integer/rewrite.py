"""The integer mode: everything that the integer runtime rounds is modelled, or the network is refused.

    read the path (path) -> its steps (steps) -> the FakeQuants and their ranges (range_plan)
    -> only then: fold the batch norms, insert the FakeQuants, round the biases

Nothing in the graph is changed before everything that could refuse it has been looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable, find_batch_norms
from qatbuild.quantize.batch_norm.fold import fold
from qatbuild.quantize.batch_norm.training_fold import fold_in_training
from qatbuild.quantize.graph.quant_delay import delayed
from qatbuild.quantize.graph.rewire import replace_input
from qatbuild.quantize.integer.biases import rounded
from qatbuild.quantize.integer.fused_ops import Offence, Step, read
from qatbuild.quantize.integer.learning import Ends, LearntRange, observe
from qatbuild.quantize.integer.ops import CONSTRUCTS, DEFAULT_CURES, ONLY_AS_UINT8, ONLY_UINT8, WEIGHTS_OPERAND
from qatbuild.quantize.integer.path import Path
from qatbuild.quantize.integer.pooled import behind_pool
from qatbuild.quantize.integer.range_plan import INPUT, Plan, Quant, Range, plan
from qatbuild.quantize.integer.standalone import as_layer
from qatbuild.quantize.options import Options
from qatbuild.quantize.rewrite_report import FoldedBatchNorm, QuantizedTensor, RewriteReport, SharedTensor
from qatbuild.quantize.tf1.layers import FAKE_QUANT_TYPES
from qatbuild.quantize.tf1.rewrite import refuse_closed_graphs, refuse_optimizers

v1 = tf.compat.v1


@dataclass(frozen=True)
class Site:
    """One FakeQuant to be made: on `tensor`, for `consumers`; with a `channel_axis` each channel has its range."""

    quant: Quant
    range: Range
    tensor: tf.Tensor
    consumers: tuple[tf.Operation, ...]
    channel_axis: int | None = None

    @property
    def channels(self) -> int | None:
        """How many ranges it has, None for a single one for the whole tensor."""
        return None if self.channel_axis is None else int(self.tensor.shape[self.channel_axis :].num_elements())


@dataclass(frozen=True)
class BiasSite:
    """One bias to be rounded, of a step: `tensor`, for `consumers`; the ranges of the layer's input and weights."""

    step: int
    prefix: str
    tensor: tf.Tensor
    consumers: tuple[tf.Operation, ...]
    given: Range
    weights: Range


@dataclass(frozen=True)
class _Folded:
    """What a step's tensors are once its batch norm is a part of its layer; weights and bias are inference's."""

    layer: tf.Operation
    weights: tf.Tensor
    bias: tf.Tensor
    output: tf.Tensor


class Integer:
    """The rewrite of one graph: made of what it is to become, applied once."""

    def __init__(self, graph: tf.Graph, options: Options, input: str, logits: str, *, training: bool) -> None:  # noqa: A002
        """Read the graph and decide; RewriteError if it cannot become fully integer. The graph is only looked at."""
        refuse_closed_graphs(graph)
        refuse_optimizers(graph)
        self._graph, self._options, self._training = graph, options, training
        self._existing = [each for each in graph.get_operations() if each.type in FAKE_QUANT_TYPES]
        if not self._existing:
            self._path, self._steps, self._plan = examine(graph, options, input, logits, {}, training=training)

    def apply(self, *, insert: bool = True) -> RewriteReport:
        """Fold and, unless only a plan is asked for, insert, in place; a graph with FakeQuants is left as it is."""
        if self._existing:
            return RewriteReport(shared=tuple(_shared(each) for each in self._existing))
        with self._graph.as_default(), v1.name_scope(None), tf.control_dependencies(None):
            folded, records = self._fold()
            sites = list(self._sites(folded))
            if insert:
                insertion = _Insertion(self._steps, self._options, sites, training=self._training)
                biases = list(self._biases(folded))
                insertion.run()
                insertion.round_biases(biases)
        rows = tuple(_row(site) for site in sites)
        return RewriteReport(folded=tuple(records), quantized=rows, left_float=self._plan.left_float)

    def _fold(self) -> tuple[Mapping[int, _Folded], list[FoldedBatchNorm]]:
        freeze = self._options.freeze_bn_delay_steps if self._training else None
        found: dict[int, _Folded] = {}
        records: list[FoldedBatchNorm] = []
        layered = self._standing_as_layers()
        for number, step in enumerate(self._steps):
            norm = step.norm
            if norm is None:
                continue
            if not isinstance(norm, BatchNorm):
                norm = layered[norm.operation]
            # A layer that others read without its batch norm goes on beside the folded one, with its own weights; and
            # a batch norm whose statistics are given is folded alike for training and for inference.
            alone = norm.training and norm.layer not in self._weighted()
            record = fold_in_training(norm, freeze) if alone else fold(norm, freeze)
            names = (record.weights, record.bias, record.output)
            weights, bias, output = (self._graph.get_tensor_by_name(name) for name in names)
            complete = output if step.output is norm.result else step.output
            found[number] = _Folded(norm.layer, weights, bias, complete)
            records.append(record)
        return found, records

    def _standing_as_layers(self) -> dict[tf.Operation, BatchNorm]:
        """Each batch norm that stands alone, by its operation, now that it has a layer in front of it.

        All get theirs before any is folded: a fold changes what those behind it normalize.
        """
        standing = [step.norm for step in self._steps if isinstance(step.norm, Unfoldable)]
        for norm in standing:
            as_layer(norm)
        found = find_batch_norms(self._graph, training=self._training, biased=True) if standing else ()
        operations = {each.operation for each in standing}
        return {each.operation: each for each in found if isinstance(each, BatchNorm) and each.operation in operations}

    def _sites(self, folded: Mapping[int, _Folded]) -> Iterator[Site]:
        """Where the planned FakeQuants go; consumers are those before any of them is made."""
        seen: set[str] = set()
        for quant in self._plan.quants:
            site = self._site(quant, folded)
            if site.tensor.name not in seen:
                seen.add(site.tensor.name)
                yield site

    def _site(self, quant: Quant, folded: Mapping[int, _Folded]) -> Site:
        settings = self._plan.ranges[quant.range]
        if quant.step == INPUT:
            return Site(quant, settings, self._path.input, _consumers(self._path.input))
        step = self._steps[quant.step]
        after = folded.get(quant.step)
        if quant.operand is not None:
            return Site(quant, settings, quant.operand, (step.operation,))
        if quant.place == "output":
            output = step.output if after is None else after.output
            if self._training:
                output = behind_pool(output)
            return Site(quant, settings, output, _consumers(output))
        layer = step.weighted if after is None else after.layer
        assert layer is not None
        if after is None:
            weights = layer.inputs[WEIGHTS_OPERAND[layer.type]]
            # Only layers read the fake-quantized weights: weight decay goes on to see the float ones.
            readers = tuple(each for each in _consumers(weights) if each is layer or each in self._weighted())
        else:
            weights, readers = after.weights, _consumers(after.weights)
        per_channel = self._options.scheme == "int8_per_channel"
        axis = {"Conv2D": 3, "DepthwiseConv2dNative": 2}.get(layer.type) if per_channel else None
        return Site(quant, settings, weights, readers, axis)

    def _biases(self, folded: Mapping[int, _Folded]) -> Iterator[BiasSite]:
        for quant in self._plan.quants:
            after, given = folded.get(quant.step), self._plan.given.get(quant.step)
            if quant.place == "weights" and given is not None:
                bias = self._steps[quant.step].bias if after is None else after.bias
                if bias is not None:
                    prefix = quant.prefix.replace("weights_quant", "bias_quant")
                    yield BiasSite(quant.step, prefix, bias, _consumers(bias), given, self._plan.ranges[quant.range])

    def _weighted(self) -> set[tf.Operation]:
        return {step.weighted for step in self._steps if step.weighted is not None and step.norm is None}


def examine(
    graph: tf.Graph,
    options: Options,
    input: str,  # noqa: A002
    logits: str,
    cures: Mapping[str, str],
    *,
    training: bool,
) -> tuple[Path, list[Step], Plan]:
    """The network's steps and FakeQuants. RewriteError with one fact for each layer that would be computed in float.

    `cures` maps a kind of operation to what the user can do about it. The graph is only looked at.
    """
    path = Path.between(graph, input, logits, training=training)
    steps, offences = read(path, training=training)
    if options.scheme != "uint8":
        unknown = [each for each in path.operations if each.type in ONLY_UINT8]
        offences += [Offence(path.layer(each), each.type, ONLY_AS_UINT8, each) for each in unknown]
    if offences:
        raise refusal(offences, cures)
    if not any(step.is_layer for step in steps):
        raise RewriteError(
            "The network has no layer that could be quantized: nothing was changed.",
            [("input", path.input.name), ("logits", path.logits.name)],
            "Call it after the network has been built, in the graph that it was built in.",
        )
    planned, offences = plan(path, steps, options)
    if offences:
        raise refusal(offences, cures)
    return path, steps, planned


def refusal(offences: Sequence[Offence], cures: Mapping[str, str]) -> RewriteError:
    """The error that names each layer once, by its worst offence, with the cures for all kinds."""
    worst: dict[str, Offence] = {}
    for each in offences:
        known = worst.get(each.layer)
        if known is None or (each.kind in CONSTRUCTS and known.kind not in CONSTRUCTS):
            worst[each.layer] = each
    kinds = list(dict.fromkeys(each.kind for each in worst.values()))
    texts = {name: text for name in kinds if (text := cures.get(name) or DEFAULT_CURES.get(name))}
    return RewriteError(
        "The network cannot be made fully integer.",
        [(each.layer, f"{each.kind}: {each.why}") for each in worst.values()],
        "; ".join(text if len(kinds) == 1 else f"{text} (for {name})" for name, text in texts.items()),
    )


class _Insertion:
    """Makes the FakeQuants of one graph."""

    def __init__(self, steps: Sequence[Step], options: Options, sites: Sequence[Site], *, training: bool) -> None:
        self._options, self._sites, self._training = options, sites, training
        self._ancestors = _ancestors(steps)
        self._outputs = {site.quant.step: site.tensor for site in sites if site.quant.place == "output"}
        self._ends: dict[str, tuple[Ends, Ends]] = {}

    def run(self) -> None:
        """Make them all, in the order of the plan."""
        for site in self._sites:
            before, now = self._range(site)
            ends = before if self._comes_first(site) else now
            twin = _fake_quant(site, ends)
            if self._training and self._options.quant_delay_steps > 0:
                twin = delayed(twin, site.tensor, site.quant.prefix, self._options.quant_delay_steps)
            replace_input(site.consumers, site.tensor, twin)

    def round_biases(self, biases: Sequence[BiasSite]) -> None:
        """Round the biases, once the ranges are there; in training their gradients pass by the rounding."""
        for site in biases:
            before, now = self._ends[site.given.prefix]
            # The input's range may be shared with what is computed from this layer, with its own output even.
            later = any(site.step == each or site.step in self._ancestors[each] for each in site.given.observed)
            given, weights = (site.given, before if later else now), (site.weights, self._ends[site.weights.prefix][1])
            with v1.name_scope(f"{site.prefix}/"):
                twin = rounded(site.tensor, given, weights, training=self._training)
            if self._training and self._options.quant_delay_steps > 0:
                twin = delayed(twin, site.tensor, site.prefix, self._options.quant_delay_steps)
            replace_input(site.consumers, site.tensor, twin)

    def _comes_first(self, site: Site) -> bool:
        """Whether a tensor that the range is learnt from is computed from this one."""
        return any(site.quant.step in self._ancestors[each] for each in site.range.observed)

    def _range(self, site: Site) -> tuple[Ends, Ends]:
        """The ends of the site's range in the step before and in this one, made with the first of its sites."""
        key = site.range.prefix
        if key not in self._ends:
            self._ends[key] = self._made(site)
        return self._ends[key]

    def _made(self, site: Site) -> tuple[Ends, Ends]:
        settings = site.range
        if settings.fixed is not None:
            with v1.name_scope(f"{settings.prefix}/"):
                low, high = (tf.constant(end, tf.float32, name=f"fixed_{name}") for end, name in
                             zip(settings.fixed, ("min", "max"), strict=True))  # fmt: skip
            return Ends(low, high), Ends(low, high)
        learnt = LearntRange(settings.prefix, site.channels)
        before = learnt.read()
        if not self._training:
            return before, before
        tensors = [self._outputs[each] for each in settings.observed] or [site.tensor]
        with v1.name_scope(f"{settings.prefix}/"):
            observed = observe(tensors, symmetric=settings.symmetric, channel_axis=site.channel_axis)
        return before, learnt.learn(observed, settings.learns, after=(before.low, before.high))


def _fake_quant(site: Site, ends: Ends) -> tf.Tensor:
    name, numbers = "FakeQuantWithMinMaxVars", (site.range.bits, site.range.narrow_range)
    with v1.name_scope(f"{site.quant.prefix}/"):
        if site.channel_axis is None:
            return tf.quantization.fake_quant_with_min_max_vars(site.tensor, ends.low, ends.high, *numbers, name=name)
        # The operation's channels are the last axis; of a depthwise layer's [height, width, channels, multiplier] the
        # converter takes them in this shape alone.
        shape, kernel = site.tensor.shape.as_list(), site.tensor
        flat = site.channel_axis < len(shape) - 1
        if flat:
            kernel = tf.reshape(kernel, [*shape[:2], 1, site.channels], name="by_channel")
        twin = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            kernel, ends.low, ends.high, *numbers, name=f"{name}PerChannel"
        )
        return tf.reshape(twin, shape, name="as_weights") if flat else twin


def _ancestors(steps: Sequence[Step]) -> list[set[int]]:
    """For each step the numbers of the steps that its output depends on; the input is among them."""
    makers: dict[str, set[int]] = {}
    found: list[set[int]] = []
    for number, step in enumerate(steps):
        before = set().union(*(makers.get(tensor.name, {INPUT}) for tensor in step.sources))
        found.append(before)
        for tensor in (*step.operation.outputs, step.output):
            makers[tensor.name] = before | {number}
    return found


def _consumers(tensor: tf.Tensor) -> tuple[tf.Operation, ...]:
    return tuple(dict.fromkeys(tensor.consumers()))


def _row(site: Site) -> QuantizedTensor:
    learnt = site.range.fixed is None
    return QuantizedTensor(
        layer=site.quant.layer,
        role=site.quant.role,
        tensor=site.tensor.name,
        consumers=tuple(each.name for each in site.consumers),
        min_variable=f"{site.range.prefix}/min" if learnt else "",
        max_variable=f"{site.range.prefix}/max" if learnt else "",
        bits=site.range.bits,
        narrow_range=site.range.narrow_range,
        symmetric=site.range.symmetric,
        per_channel=site.channel_axis,
        fixed=site.range.fixed,
    )


def _shared(existing: tf.Operation) -> SharedTensor:
    role = existing.name.rpartition("/")[0].rpartition("/")[2]
    return SharedTensor(existing.name.rpartition(f"/{role}/")[0], role, existing.inputs[0].name, existing.name)
