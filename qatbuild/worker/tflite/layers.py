"""Where a .tflite loses accuracy against its float network: one row of figures for each of its operators.

    SQNR = 10 log10(sum(r^2) / sum((r - S (q - Z))^2)) dB

with the values r of a reference. Each layer has three references: the float graph and the fake-quantized graph, both
run on the images; and the layer alone, in float with the fake-quantized graph's weights, on the .tflite's own inputs.
The noise of the last one is this layer's own, without that of its inputs. 1 LSB is the scale S of the .tflite's tensor.

The .tflite runs on LiteRT's reference kernels, which give the same bits on every machine. What they cannot compute has
no row, nor has any operator after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.details import Histogram
from qatbuild.exchange.facts import plain
from qatbuild.exchange.layer_signs import BatchNormSign, InputSign, LayerSigns
from qatbuild.worker import graph_outputs
from qatbuild.worker.graph_def import op_name
from qatbuild.worker.tflite import inspect, reference, signs, weights
from qatbuild.worker.tflite.batch_norm_signs import BatchNormSigns
from qatbuild.worker.tflite.input_signs import InputSigns
from qatbuild.worker.tflite.interpret import Model
from qatbuild.worker.tflite.layer import Layer, Quantized
from qatbuild.worker.tflite.override_names import OverrideNames
from qatbuild.worker.tflite.pairing import IndexedGraph, float_partner, isolated, partner, without_fake_quants

Run = Callable[[Sequence[str], Mapping[str, Any]], list[Any]]
"""Run a graph: (names of the tensors to fetch, values of the tensors to feed) -> values. A session's run."""

_VALUES = 2**24
"""Values of all layers in one batch: every activation is in memory, several times and in float."""

_MOVES = frozenset({"EXPAND_DIMS", "RESHAPE", "SLICE", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE"})
_PRODUCTS = 4 * 10**9
_FEWEST_IMAGES = 4
_ROUNDING_LSB = 1.0
"""Largest difference from the fake-quantized layer on the same inputs that rounding alone explains."""


class Measured(NamedTuple):
    """The rows of `measure`, worst layer first; the layers in the order of execution, a row's `position` among them.

    `weights` are histograms by the index of the operator's output.
    """

    rows: list[dict[str, Any]]
    layers: Sequence[Layer]
    weights: Mapping[int, Histogram]


class _Beside(NamedTuple):
    """What a layer does not measure itself, by the index of its output, by tensor of the float graph, by input."""

    weight_channels: Mapping[int, float | None]
    batch_norms: Mapping[str, BatchNormSign]
    names: OverrideNames
    inputs: Mapping[int, InputSign]

    def signs(self, layer: Layer, model: inspect.Flatbuffer) -> LayerSigns:
        """Returns all signs of a layer."""
        return layer.spread.signs()._replace(
            bulk_percent=signs.bulk_percent(layer.ordered_counts),
            is_output=layer.index in model.outputs,
            float_values=layer.float_ends.rounded,
            weight_channel_percent=self.weight_channels.get(layer.index),
            batch_norm=self.batch_norms.get(str(layer.floating)),
            override_name=None if layer.fake_quant is None else self.names.of(layer.fake_quant),
            reads=next((self.inputs[each] for each in layer.operator.inputs if each in self.inputs), None),
        )


def measure(
    path: Path,
    ends: tuple[Sequence[str], Sequence[str]],
    integers: Mapping[str, NDArray[Any]],
    feeds: Mapping[str, NDArray[np.float32]],
    graphs: Mapping[str, IndexedGraph],
    *,
    model: inspect.Flatbuffer,
    inputs: Mapping[str, str],
    opened: Callable[[tf.Graph], Run],
) -> Measured:
    """Returns one row for each operator of the .tflite at `path`, with the content `model`, worst layer first.

    First come layers that differ from the fake-quantized graph by more than rounding, on the same inputs; then the
    others, by what they lose alone. A softmax comes last: its scale is fixed, and it keeps the order of the logits.

    `ends` are the names of the file's inputs and outputs, `integers` examples [n, ...] by input, `feeds` their real
    values by the graphs' tensors, `inputs` the graphs' operations by input. `graphs` has the frozen graphs "fake_quant"
    and "float"; `opened` makes a graph ready to run. A row has

        position               in the order of execution, from 0
        name, operator         the layer, and the .tflite's operator
        partner                the fake-quantized graph's tensor with the same values, or None
        sqnr_db                against "float", "fake_quant", "alone"; None without a reference or without a loss
        max_lsb                from the fake-quantized graph: "fake_quant" on the images, "same_inputs" on the layer's
                               inputs in the .tflite
        codes_used_percent     of the 256 quantized values, those from the smallest to the largest that occurred
        saturated_percent      outputs at the smallest or largest quantized value, unless that is the zero point
        signs                  why it may lose: see exchange.layer_signs

    Raises ConversionError if the file does not run.
    """
    refused = reference.refused(model)
    network, floats = graphs["fake_quant"], graphs["float"]
    layers = _layers(model, refused.position if refused else len(model.operators), network, floats)
    part = reference.before(path, refused.position) if refused else None
    runtime = Model(path, ends, kernels="reference", keep=True, content=part)
    whole, floating = opened(network.graph), opened(floats.graph)
    norms, read = BatchNormSigns(floats.graph), InputSigns(model, ends[0])
    sources = {index: inputs[name] for name, index in zip(ends[0], model.inputs, strict=True)}
    compare_alone: Callable[[Quantized, Mapping[str, Any]], None] | None = None
    batch = max(1, _VALUES // sum(math.prod(layer.tensor.shape) for layer in layers))
    for start in range(0, min(map(len, integers.values())), batch):
        rows = slice(start, start + batch)
        taken = {name: each[rows] for name, each in integers.items()}
        quantized = runtime.tensors(taken, [layer.index for layer in layers], batch)
        fed = {name: each[rows] for name, each in feeds.items()}
        read.add(taken, {name: fed[f"{operation}:0"] for name, operation in inputs.items()})
        expected = _fetched(whole, [layer.fake_quant for layer in layers], fed)
        if compare_alone is None:
            _drop_partners_of_other_sizes(layers, expected, quantized)
            shapes = {str(name): each.shape[1:] for name, each in expected.items()}
            compare_alone = _alone(layers, network, shapes, sources, opened)
        for layer in layers:
            layer.count(quantized[layer.index])
            layer.add("fake_quant", expected.get(layer.fake_quant), quantized)
        wanted = _fetched(floating, [*(layer.floating for layer in layers), *norms.tensors], fed)
        norms.add({str(name): value for name, value in wanted.items()})
        for layer in layers:
            layer.add("float", wanted.get(layer.floating), quantized)
        compare_alone(quantized, fed)
    beside = _Beside(
        signs.weight_channel_percents(model),
        norms.by_tensor({str(each.floating) for each in layers}),
        OverrideNames(network),
        read.by_tensor(),
    )
    rows_of_layers = [
        {"position": position, **layer.row(), "signs": plain(beside.signs(layer, model))}
        for position, layer in enumerate(layers)
    ]
    partners = {layer.index: layer.fake_quant for layer in layers if layer.fake_quant is not None}
    spread = weights.histograms(model, partners, network, lambda names: whole(names, {}))
    return Measured(sorted(rows_of_layers, key=_badness), layers, spread)


def affordable(model: inspect.Flatbuffer) -> int:
    """Returns how many images `measure` can run through a file in seconds: the reference kernels are slow."""
    products = 0
    for operator in model.operators:
        if operator.name in signs.CHANNEL_AXIS:
            weights = model.tensors[operator.inputs[1]].shape
            outputs = math.prod(model.tensors[operator.outputs[0]].shape)
            products += outputs * math.prod(weights) // weights[signs.CHANNEL_AXIS[operator.name]]
    return max(_FEWEST_IMAGES, _PRODUCTS // max(products, 1))


def described(row: Mapping[str, Any]) -> str:
    """Returns a row as text for an error: "conv1 (CONV_2D): 22.8 dB alone, 1 LSB, 2.27 % saturated"."""
    alone, same = row["sqnr_db"]["alone"], row["max_lsb"]["same_inputs"]
    name, saturated = f"{row['name']} ({row['operator']})", f"{row['saturated_percent']:g} % saturated"
    if same is None:
        return f"{name}: nothing to compare with, {saturated}"
    loss = "nothing lost" if alone is None else f"{alone:g} dB"
    return f"{name}: {loss} alone, {same:g} LSB, {saturated}"


def _badness(row: Mapping[str, Any]) -> tuple[float, float, int]:
    """Returns the sort key of a row: see `measure`."""
    same, alone = row["max_lsb"]["same_inputs"] or 0.0, row["sqnr_db"]["alone"]
    unavoidable = alone is None or row["operator"] == "SOFTMAX"
    return -same if same > _ROUNDING_LSB else 0.0, np.inf if unavoidable else alone, row["position"]


def _layers(model: inspect.Flatbuffer, count: int, network: IndexedGraph, floats: IndexedGraph) -> list[Layer]:
    layers: list[Layer] = []
    for operator in model.operators[:count]:
        index = operator.outputs[0]
        tensor = model.tensors[index]
        if not tensor.scales:  # a shape that is computed
            continue
        fake_quant = partner(tensor, network)
        taken = fake_quant in {layer.fake_quant for layer in layers}
        if fake_quant is not None and (taken or not network.batch_first(fake_quant)):
            fake_quant = None
        floating = None if fake_quant is None else float_partner(fake_quant, network, floats)
        layers.append(Layer(model.layer(operator), operator, tensor, index, fake_quant, floating))
    return layers


def _alone(
    layers: Sequence[Layer],
    network: IndexedGraph,
    shapes: Mapping[str, tuple[int, ...]],
    sources_of_inputs: Mapping[int, str],
    opened: Callable[[tf.Graph], Run],
) -> Callable[[Quantized, Mapping[str, Any]], None]:
    """Returns a function that compares each layer alone, on the .tflite's inputs, with the fake-quantized and in float.

    In a copy of the fake-quantized graph a placeholder takes the place of every layer's output, and is fed with the
    .tflite's values. A layer is compared if its tensor there is computed of no other values than the layer's inputs.
    `sources_of_inputs` are the graph's placeholders by index of the file's input.
    """
    computed = {layer.index: layer for layer in layers}
    paired = {layer.index: layer for layer in layers if layer.fake_quant is not None}
    places = {index: (f"tflite/{index}", shapes[str(layer.fake_quant)]) for index, layer in paired.items()}
    cut = IndexedGraph(isolated(network, {str(layer.fake_quant): places[index] for index, layer in paired.items()}))

    def inputs_of(layer: Layer) -> set[str]:
        """Returns the placeholders that stand for a layer's inputs, those of moved values included."""
        inputs: set[str] = set()
        for each in layer.operator.inputs:
            if each in places:
                inputs.add(places[each][0])
            elif each not in computed:  # An input of the network, or what the converter made of one.
                inputs |= set(sources_of_inputs.values())
            elif computed[each].operator.name in _MOVES:
                inputs |= inputs_of(computed[each])
        return inputs

    compared = [
        layer
        for layer in paired.values()
        if cut.placeholders(network.source(op_name(str(layer.fake_quant)))) <= inputs_of(layer)
    ]
    quantized_graph = opened(cut.graph)
    float_graph = opened(graph_outputs.imported(without_fake_quants(cut.definition)))
    sources = {layer.index: f"{network.source(op_name(str(layer.fake_quant)))}:0" for layer in compared}

    def compare(quantized: Quantized, feeds: Mapping[str, Any]) -> None:
        inputs = dict(feeds)
        for index, layer in paired.items():
            name, shape = places[index]
            inputs[f"{name}:0"] = _real(quantized[index], layer.tensor).reshape(-1, *shape)
        same = _fetched(quantized_graph, [layer.fake_quant for layer in compared], inputs)
        alone = _fetched(float_graph, list(sources.values()), inputs)
        for layer in compared:
            layer.add("same_inputs", same.get(layer.fake_quant), quantized)
            layer.add("alone", alone.get(sources[layer.index]), quantized)

    return compare


def _drop_partners_of_other_sizes(
    layers: Sequence[Layer], expected: Mapping[str | None, NDArray[Any]], quantized: Quantized
) -> None:
    for layer in layers:
        if layer.fake_quant is not None and expected[layer.fake_quant].size != quantized[layer.index].size:
            layer.fake_quant = layer.floating = None


def _fetched(run: Run, names: Sequence[str | None], feeds: Mapping[str, Any]) -> dict[str | None, NDArray[Any]]:
    """Runs a graph and returns its tensors' values by name; None among the names is left out."""
    wanted = list(dict.fromkeys(name for name in names if name is not None))
    return dict(zip(wanted, run(wanted, feeds), strict=True))


def _real(quantized: NDArray[Any], tensor: inspect.Tensor) -> NDArray[np.float32]:
    return (quantized.astype(np.float32) - np.float32(tensor.zero_points[0])) * np.float32(tensor.scales[0])
