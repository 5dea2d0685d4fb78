"""Small .tflite files built by hand: any operator with any scales and zero points, without a converter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils

from qatbuild.worker.tflite.interpret import KERNELS

_TYPES = {np.dtype(name): getattr(schema.TensorType, name.upper()) for name in ("uint8", "int8", "int32", "float32")}


@dataclass(frozen=True)
class Wire:
    """A tensor: its type, shape and scale, and its values if it is a constant."""

    dtype: Any
    shape: tuple[int, ...]
    scales: Sequence[float] = ()
    zero_points: Sequence[int] = ()
    values: Any = None
    axis: int = 0


def constant(values: np.ndarray, scales: Sequence[float] = (), zero_points: Sequence[int] = (), axis: int = 0) -> Wire:
    return Wire(values.dtype, values.shape, scales, zero_points, values, axis)


def single(name: str, options: Any, inputs: Sequence[Wire | None], output: Wire, version: int = 1) -> bytes:
    """A model of one operator. Its inputs are the tensors without values."""
    model = schema.ModelT()
    model.version, model.description, model.signatureDefs, model.metadata = 3, "one operator", [], []
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    model.operatorCodes = [code]
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.name, graph.tensors = "main", []
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs = 0, []
    for wire in inputs:
        operator.inputs.append(-1 if wire is None else len(graph.tensors))
        if wire is not None:
            graph.tensors.append(_tensor(model, wire, f"input{len(graph.tensors)}"))
    operator.outputs = [len(graph.tensors)]
    graph.tensors.append(_tensor(model, output, "output"))
    if options is not None:
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    graph.operators = [operator]
    free = [index for index, wire in zip(operator.inputs, inputs, strict=True) if wire and wire.values is None]
    graph.inputs, graph.outputs = free, operator.outputs
    model.subgraphs = [graph]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def cut(path: Path, index: int) -> bytes:
    """The operator at `index` of a file, alone: what it computes from tensors becomes an input of the model."""
    model = flatbuffer_utils.read_model(str(path))
    graph = model.subgraphs[0]
    operator = graph.operators[index]
    graph.operators, graph.outputs = [operator], list(operator.outputs)
    graph.inputs = [
        each for each in operator.inputs if each >= 0 and model.buffers[graph.tensors[each].buffer].data is None
    ]
    model.signatureDefs = []
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def infer(data: bytes, inputs: Sequence[np.ndarray], kernels: str = "reference") -> np.ndarray:
    """What LiteRT computes for the inputs of a model of one operator."""
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=KERNELS[kernels])
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.resize_tensor_input(detail["index"], values.shape)
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _tensor(model: Any, wire: Wire, name: str) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name.encode(), list(wire.shape), _TYPES[np.dtype(wire.dtype)]
    buffer = schema.BufferT()
    if wire.values is not None:
        buffer.data = np.frombuffer(np.ascontiguousarray(wire.values).tobytes(), np.uint8)
    tensor.buffer = len(model.buffers)
    model.buffers.append(buffer)
    if len(wire.scales):
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = list(wire.scales), list(wire.zero_points)
        quantization.quantizedDimension = wire.axis
        tensor.quantization = quantization
    return tensor
