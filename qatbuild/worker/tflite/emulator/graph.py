"""A .tflite file for the emulator: tensors with their constants, operators with their options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from qatbuild.worker.tflite import inspect

_ABSENT = -1


@dataclass(frozen=True)
class EmulatedTensor:
    """One tensor. `scales` (float32) and `zero_points` have length 1, or one per index of the axis `axis`.

    `values` are those of a constant, None if they are computed. `batches`: whether the first dimension is free.
    """

    index: int
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int
    values: NDArray[Any] | None
    batches: bool

    @property
    def scale(self) -> np.float32:
        """The scale, of a tensor with a single one."""
        return np.float32(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The zero point, of a tensor with a single one."""
        return int(self.zero_points[0])

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and largest value of its type."""
        limits = np.iinfo(self.dtype)
        return int(limits.min), int(limits.max)


@dataclass(frozen=True)
class EmulatedOperator:
    """One operation: its tensors (None for an absent optional input) and the options of its flatbuffer table."""

    name: str
    inputs: tuple[EmulatedTensor | None, ...]
    outputs: tuple[EmulatedTensor, ...]
    options: Any

    def input(self, position: int) -> EmulatedTensor:
        """Returns the input tensor at a position; it must not be absent."""
        tensor = self.inputs[position]
        assert tensor is not None, f"{self.name} has no input {position}"
        return tensor


@dataclass(frozen=True)
class Graph:
    """The main subgraph of a file, its operators in the order of execution."""

    tensors: tuple[EmulatedTensor, ...]
    operators: tuple[EmulatedOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read(path: Path) -> Graph:
    """Reads the main subgraph of a .tflite file; ConversionError if it is not one."""
    model = inspect.load(path)
    main = model.subgraphs[0]
    tensors = tuple(_tensor(model, index, tensor) for index, tensor in enumerate(main.tensors))
    operators = []
    for operator in main.operators:
        name = str(flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex))
        inputs = tuple(None if index == _ABSENT else tensors[index] for index in operator.inputs)
        outputs = tuple(tensors[index] for index in operator.outputs)
        operators.append(EmulatedOperator(name, inputs, outputs, operator.builtinOptions))
    return Graph(tensors, tuple(operators), tuple(map(int, main.inputs)), tuple(map(int, main.outputs)))


def _tensor(model: Any, index: int, tensor: Any) -> EmulatedTensor:
    shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
    dtype = np.dtype(flatbuffer_utils.type_to_name(tensor.type).lower())
    quantization = tensor.quantization
    scales = () if quantization is None or quantization.scale is None else quantization.scale
    zero_points = () if quantization is None or quantization.zeroPoint is None else quantization.zeroPoint
    data = model.buffers[tensor.buffer].data
    signature = tensor.shapeSignature
    return EmulatedTensor(
        index=index,
        name=tensor.name.decode(),
        dtype=dtype,
        shape=shape,
        scales=np.asarray(scales, np.float32),
        zero_points=np.asarray(zero_points, np.int64),
        axis=0 if quantization is None else int(quantization.quantizedDimension),
        values=None if data is None else np.frombuffer(bytes(data), dtype).reshape(shape),
        batches=signature is not None and len(signature) > 0 and int(signature[0]) == _ABSENT,
    )
