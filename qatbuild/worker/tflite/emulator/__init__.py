"""An integer emulator in NumPy: it runs a .tflite tensor by tensor, with the bits of LiteRT's reference kernels.

It proves that the equations in these docstrings are what the runtime computes: uint8 and int8, per tensor and per
channel. The reference kernels are those of `OpResolverType.BUILTIN_REF` in ai-edge-litert 2.3; other kernel sets may
differ by 1 LSB of an operator's output.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.errors import ConversionError
from qatbuild.worker.tflite.emulator import activations, arithmetic, layers, pools, shapes
from qatbuild.worker.tflite.emulator.graph import EmulatedOperator, Graph, read

__all__ = ["KERNELS", "compute", "read", "run"]

KERNELS: dict[str, Callable[..., NDArray[Any]]] = {
    "ADD": arithmetic.add,
    "AVERAGE_POOL_2D": pools.average_pool,
    "CONCATENATION": shapes.concatenation,
    "CONV_2D": layers.conv,
    "DEPTHWISE_CONV_2D": layers.depthwise,
    "EXPAND_DIMS": shapes.expand_dims,
    "FULLY_CONNECTED": layers.fully_connected,
    "LEAKY_RELU": activations.leaky_relu,
    "LOGISTIC": activations.logistic,
    "MAXIMUM": arithmetic.maximum,
    "MAX_POOL_2D": pools.max_pool,
    "MEAN": pools.mean,
    "MINIMUM": arithmetic.minimum,
    "MUL": arithmetic.multiply,
    "PACK": shapes.pack,
    "PAD": shapes.pad,
    "PADV2": shapes.pad,
    "PRELU": activations.prelu,
    "RELU": activations.relu,
    "RELU6": activations.relu,
    "RELU_N1_TO_1": activations.relu,
    "RESHAPE": shapes.reshape,
    "SHAPE": shapes.shape_of,
    "SLICE": shapes.slice_of,
    "SOFTMAX": activations.softmax,
    "SQUEEZE": shapes.squeeze,
    "STRIDED_SLICE": shapes.strided_slice,
    "SUB": arithmetic.subtract,
    "TANH": activations.tanh,
    "TRANSPOSE": shapes.transpose,
    "TRANSPOSE_CONV": layers.transpose_conv,
}
"""The supported operators, by their names in the flatbuffer's schema."""


def run(path: Path, inputs: NDArray[Any]) -> dict[int, NDArray[Any]]:
    """Returns the quantized values of every tensor by its index, for `inputs` [batch, ...] of the model's own type.

    ConversionError naming the unsupported operators, before anything is computed.
    """
    graph = read(path)
    _check(graph, path)
    (source,) = (each for each in graph.tensors if each.index == graph.inputs[0])
    if source.batches:
        return _run(graph, inputs)
    single = [_run(graph, inputs[index : index + 1]) for index in range(len(inputs))]  # The file has a batch of 1.
    constants = {each.index for each in graph.tensors if each.values is not None}
    return {
        index: value if index in constants else np.concatenate([values[index] for values in single])
        for index, value in single[0].items()
    }


def _run(graph: Graph, inputs: NDArray[Any]) -> dict[int, NDArray[Any]]:
    values: dict[int, NDArray[Any]] = {each.index: each.values for each in graph.tensors if each.values is not None}
    values[graph.inputs[0]] = inputs
    for operator in graph.operators:
        operands = [None if tensor is None else values[tensor.index] for tensor in operator.inputs]
        values[operator.outputs[0].index] = compute(operator, operands)
    return values


def compute(operator: EmulatedOperator, operands: list[NDArray[Any] | None]) -> NDArray[Any]:
    """Returns the quantized output of one operator. Pass None for an absent optional operand."""
    return KERNELS[operator.name](operator, *operands)


def _check(graph: Graph, path: Path) -> None:
    unknown = dict.fromkeys(operator.name for operator in graph.operators if operator.name not in KERNELS)
    unfit = [
        tensor.name
        for operator in graph.operators
        for tensor in (*operator.inputs, *operator.outputs)
        if tensor is not None and not np.issubdtype(tensor.dtype, np.integer)
    ]
    facts: list[tuple[str, object]] = [("file", path)]
    if unknown:
        raise ConversionError("The emulator does not support an operator.", [*facts, ("unknown", ", ".join(unknown))])
    if unfit:
        names = ", ".join(dict.fromkeys(unfit))
        raise ConversionError("The emulator computes in integers only.", [*facts, ("tensors", names)])
