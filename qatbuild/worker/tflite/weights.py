"""The weights of a .tflite's layers as histograms: in float, as they were before they were quantized."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.details import Histogram
from qatbuild.worker.graph_def import op_name, source
from qatbuild.worker.tflite import inspect
from qatbuild.worker.tflite.fake_quant_nodes import FAKE_QUANTS
from qatbuild.worker.tflite.histograms import Accumulated, is_quantized
from qatbuild.worker.tflite.pairing import IndexedGraph

OPERATORS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
"""Operators whose second input are weights."""

_PRODUCTS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "Conv2DBackpropInput", "BatchMatMulV2")
"""TensorFlow's operations whose second input are weights."""

_LEVELS = 256


def histograms(
    model: inspect.Flatbuffer,
    partners: Mapping[int, str],
    network: IndexedGraph,
    fetch: Callable[[Sequence[str]], list[Any]],
) -> dict[int, Histogram]:
    """Returns the histograms of the weights of a .tflite, by the index of the operator's output.

    `partners` are tensors of the fake-quantized graph `network` by index of the .tflite's tensor with the same values;
    `fetch` returns values of constant tensors of that graph. Without float weights of the same size the histogram is
    that of the quantized ones.
    """
    weights = {
        operator.outputs[0]: operator.inputs[1]
        for operator in model.operators
        if operator.name in OPERATORS and is_quantized(model.tensors[operator.inputs[1]])
    }
    names = {output: name for output in weights if (name := _float_weights(network, partners.get(output)))}
    floats = dict(zip(names, fetch([*names.values()]) if names else [], strict=True))
    made = {}
    for output, index in weights.items():
        tensor, values = model.tensors[index], floats.get(output)
        accumulated = Accumulated(tensor)
        if values is not None and values.size == math.prod(tensor.shape):
            accumulated.add(values)
        elif (codes := model.codes(index)) is not None:
            accumulated.add_codes(_counts(codes))
        histogram = accumulated.histogram()
        if histogram is not None:
            made[output] = histogram
    return made


def _float_weights(network: IndexedGraph, partner: str | None) -> str | None:
    """Returns the tensor that is fake-quantized to the weights of a layer, from the layer's output; None if uncertain.

    From the output upstream, as far as the layer's own operations go, to the one that has weights.
    """
    waiting = [] if partner is None else [network.source(op_name(partner))]
    while waiting:
        node = network.nodes[waiting.pop()]
        if node.op in _PRODUCTS:
            fake_quant = source(network.nodes, node.input[1], ("Identity",))
            constant = fake_quant.name in network.constants and fake_quant.op in FAKE_QUANTS
            return f"{op_name(fake_quant.input[0])}:0" if constant else None
        if node.op not in FAKE_QUANTS:
            waiting += [name for name in map(op_name, node.input) if name not in network.constants]
    return None


def _counts(codes: NDArray[Any]) -> NDArray[np.int64]:
    """Returns how often each of the 256 values of 8 bits occurs, from the smallest on."""
    return np.bincount(codes.ravel().astype(np.int64) - np.iinfo(codes.dtype).min, minlength=_LEVELS)
