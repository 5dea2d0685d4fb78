"""The 8-bit weights of Core ML models: read, dequantized, compared, and put back into the TensorFlow graph.

Core ML has weights [out, in, height, width] and [out, in]; TensorFlow has [height, width, in, out], depthwise
[height, width, in, multiplier], and [in, out].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker import graph_def

_LAYERS = {"Conv2D": (3, 2, 0, 1), "DepthwiseConv2dNative": (2, 3, 0, 1), "MatMul": (1, 0)}
"""TensorFlow's layers -> the axes of their weights in Core ML's order."""

_DEQUANTIZE = "constexpr_affine_dequantize"
"""The operation of an ML program that makes float weights of 8 bits."""

_PASSED_ON = ("Identity", "ReadVariableOp")
_CLOSE = 1e-4


@dataclass(frozen=True, eq=False)  # == of arrays is an array
class Weights:
    """A layer's weights [out, ...] in Core ML's order, in float and dequantized; and its quantization steps [out]."""

    exact: NDArray[np.float32]
    dequantized: NDArray[np.float32]
    step: NDArray[np.float32]

    @property
    def error_steps(self) -> float:
        """Returns the largest difference between the two, in quantization steps of the channel."""
        steps = np.maximum(self.step, np.finfo(np.float32).tiny).reshape(-1, *[1] * (self.exact.ndim - 1))
        return float((np.abs(self.exact - self.dequantized) / steps).max())


def of_program(tools: Any, exact: Any, quantized: Any) -> dict[str, Weights]:
    """Returns the weights of an ML program and of its quantized form, by name of the constant."""
    read = tools.optimize.coreml.get_weights_metadata
    floats = {name: each.val for name, each in read(exact, weight_threshold=0).items()}
    parts = {name: each.val for name, each in read(quantized, weight_threshold=0).items()}
    singles = _single_steps(quantized)
    weights = {}
    for name, values in floats.items():
        data = parts.get(f"{name}_quantized_quantized_data_0")
        if data is not None:
            scale, zero = singles.get(f"{name}_quantized") or (
                np.asarray(parts[f"{name}_quantized_{part}_0"], np.float32) for part in ("scale", "zero_point")
            )
            weights[name] = _weights(values, data.astype(np.float32), scale, -zero * scale)
    return weights


def _single_steps(quantized: Any) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Returns scale and zero point [1] of weights with one step for all, which the list of large constants lacks."""
    main = quantized.get_spec().mlProgram.functions["main"]
    steps = {}
    for operation in main.block_specializations[main.opset].operations:
        if operation.type != _DEQUANTIZE:
            continue
        scale, zero = (operation.attributes[name].immediateValue.tensor for name in ("scale", "zero_point"))
        if scale.floats.values:
            zeros = np.frombuffer(zero.bytes.values, np.int8).astype(np.float32)
            steps[operation.outputs[0].name] = np.array(scale.floats.values, np.float32), zeros
    return steps


def of_network(exact: Any, quantized: Any) -> dict[str, Weights]:
    """Returns the weights of a neural network and of its quantized form, by name of the layer."""
    exact_layers = {layer.name: layer for layer in _layers(exact)}
    weights = {}
    for layer in _layers(quantized):
        kind = layer.WhichOneof("layer")
        if kind not in ("convolution", "innerProduct"):
            continue
        parameters, original = getattr(layer, kind), getattr(exact_layers[layer.name], kind)
        height_width = tuple(parameters.kernelSize) if kind == "convolution" else ()
        shape = (parameters.outputChannels, -1, *height_width)
        linear = parameters.weights.quantization.linearQuantization
        weights[layer.name] = _weights(
            np.array(original.weights.floatValue, np.float32).reshape(shape),
            np.frombuffer(parameters.weights.rawValue, np.uint8).astype(np.float32).reshape(shape),
            np.array(linear.scale, np.float32),
            np.array(linear.bias, np.float32),
        )
    return weights


def _layers(network: Any) -> Any:
    """Returns the layers of a neural network, which may be a classifier."""
    spec = network.get_spec()
    return getattr(spec, spec.WhichOneof("Type")).layers


def put_into(path: Path, weights: Mapping[str, Weights]) -> Any:
    """Returns the GraphDef of a file with dequantized weights; None if a layer matches none of them.

    Core ML folds a batch norm into the weights of its layer, channel by channel: a match may differ by a factor per
    channel, and the weights are divided by this factor.
    """
    definition = graph_def.read(path)
    nodes = graph_def.nodes_by_name(definition)
    waiting = list(weights.values())
    for node in definition.node:
        if node.op not in _LAYERS:
            continue
        holder = graph_def.source(nodes, node.input[1], _PASSED_ON)
        if not graph_def.is_constant(holder):
            return None
        ours = graph_def.constant(holder)
        order = _LAYERS[node.op]
        turned = ours.transpose(order)
        flat = turned.reshape(-1, 1, *turned.shape[2:]) if node.op.startswith("Depthwise") else turned
        for each in waiting:
            if (factor := _factor(flat, each.exact)) is not None:
                back = (each.dequantized / factor).reshape(turned.shape).transpose(np.argsort(order))
                graph_def.set_constant(holder, back.astype(np.float32))
                waiting.remove(each)
                break
        else:
            return None
    return definition


def _weights(
    exact: NDArray[Any], integers: NDArray[np.float32], scale: NDArray[np.float32], bias: NDArray[np.float32]
) -> Weights:
    each = (-1, *[1] * (integers.ndim - 1))
    real = integers * scale.reshape(each) + bias.reshape(each)
    return Weights(np.asarray(exact, np.float32), real.astype(np.float32), np.broadcast_to(scale, len(integers)))


def _factor(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Returns the factors [out, 1, ...] with theirs = factor * ours [out, ...] per channel; None if no factors fit."""
    if ours.shape != theirs.shape:
        return None
    axes = tuple(range(1, ours.ndim))
    power = (ours * ours).sum(axes, keepdims=True)
    factor = np.where(power > 0, (ours * theirs).sum(axes, keepdims=True) / np.where(power > 0, power, 1), 1)
    factor = np.where(factor == 0, 1, factor).astype(np.float32)
    return factor if np.abs(ours * factor - theirs).max() <= _CLOSE * np.abs(theirs).max() else None
