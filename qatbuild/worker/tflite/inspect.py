"""Reads a .tflite file back: its operators, tensors and quantization, and the operations that are not integer.

The converter does not report that it left a part of the network in float, between a DEQUANTIZE and a QUANTIZE, so every
file is read back after the conversion.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from qatbuild.exchange.errors import ConversionError

_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "ADD", "LEAKY_RELU")
_MALFORMED = (OSError, struct.error, ValueError, IndexError, TypeError, AttributeError)
_BYTES = {"int8": np.int8, "uint8": np.uint8}
_CASTS = ("DEQUANTIZE", "QUANTIZE", "FAKE_QUANT")
_HINTS = {
    "LOCAL_RESPONSE_NORMALIZATION": "LRN has no integer kernel: leave it out",
    "RANDOM_UNIFORM": "dropout is still in the graph: leave it out where training is False",
    "RANDOM_STANDARD_NORMAL": "noise is still in the graph: leave it out where training is False",
}


@dataclass(frozen=True)
class Tensor:
    """One tensor: `dtype` is NumPy's name; `scales` and `zero_points` have no element, one, or one per channel."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]


@dataclass(frozen=True)
class Operator:
    """One operation: its name, the version of its schema, the indices of its tensors."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Flatbuffer:
    """The content of a .tflite file. `inputs` and `outputs` are indices into `tensors`.

    `constants`: the bytes of tensors that have values in the file, by index.
    """

    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: Mapping[int, Any] = field(default_factory=dict, compare=False, repr=False)

    def layer(self, operator: Operator) -> str:
        """Returns the layer of the network that contains an operation, from the names of its tensors."""
        names = [self.tensors[index].name for index in (*operator.outputs, *operator.inputs)]
        return next((layer_of(name, self._scope) for name in names if not name.startswith(("tfl.", "arith."))), "")

    def codes(self, index: int) -> NDArray[Any] | None:
        """Returns the 8-bit values of a constant, in the tensor's shape; None for any other tensor."""
        tensor, data = self.tensors[index], self.constants.get(index)
        if data is None or tensor.dtype not in _BYTES or len(data) != math.prod(tensor.shape):
            return None
        return np.frombuffer(bytes(data), _BYTES[tensor.dtype]).reshape(tensor.shape)

    @cached_property
    def _scope(self) -> str:
        return scope_of(tensor.name for tensor in self.tensors)


@dataclass(frozen=True)
class UnsupportedOp:
    """One operation that is not integer: its layer, its name, why, the names of its tensors, and a hint or ''."""

    layer: str
    operator: str
    why: str
    tensors: tuple[str, ...]
    hint: str = ""


def read(path: Path) -> Flatbuffer:
    """Reads a .tflite file; ConversionError if it is not one."""
    model = load(path)
    try:
        offset = 0
        operators: list[Operator] = []
        tensors: list[Tensor] = []
        constants: dict[int, Any] = {}
        for graph in model.subgraphs:
            data = (model.buffers[tensor.buffer].data for tensor in graph.tensors)
            constants |= {index: each for index, each in enumerate(data, offset) if each is not None}
            tensors += [_tensor(tensor) for tensor in graph.tensors]
            for operator in graph.operators:
                code = model.operatorCodes[operator.opcodeIndex]
                name = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
                inputs, outputs = _indices(operator.inputs, offset), _indices(operator.outputs, offset)
                operators.append(Operator(str(name), int(code.version), inputs, outputs))
            offset = len(tensors)
        main = model.subgraphs[0]
        ends = _indices(main.inputs, 0), _indices(main.outputs, 0)
        return Flatbuffer(tuple(operators), tuple(tensors), *ends, constants)
    except _MALFORMED as fault:
        raise _unreadable(path, fault) from fault


def load(path: Path) -> Any:
    """Reads a .tflite file as its object tree (ModelT, with buffers and options); ConversionError if it is not one."""
    try:
        return flatbuffer_utils.read_model(str(path))
    except _MALFORMED as fault:
        raise _unreadable(path, fault) from fault


def computes_shapes(data: bytes) -> bool:
    """Returns whether the bytes of a .tflite read the shape of a tensor while they run."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    return "SHAPE" in {str(flatbuffer_utils.opcode_to_name(model, code)) for code in range(len(model.operatorCodes))}


def refusal(unsupported: Iterable[UnsupportedOp]) -> ConversionError:
    """Returns the error that lists operations: ("norm1", "LOCAL_RESPONSE_NORMALIZATION: computes in float32 ...")."""
    unsupported = tuple(unsupported)
    facts: list[tuple[str, object]] = [
        (each.layer or "?", f"{each.operator}: {each.why}: {', '.join(each.tensors)}") for each in unsupported
    ]
    layers_of: dict[str, dict[str, None]] = {}
    for each in unsupported:
        if each.hint:
            layers_of.setdefault(each.hint, {})[each.layer] = None
    hint = "; ".join(f"{', '.join(layers)}: {text}" for text, layers in layers_of.items())
    return ConversionError("The converted model is not fully integer.", facts, hint and f"{hint}.")


def unsupported_ops(model: Flatbuffer, scheme: str, float_layers: Collection[str] = ()) -> tuple[UnsupportedOp, ...]:
    """Returns the operations with a tensor of another type than `scheme`'s (uint8; int8, int4) or int32, and all casts.

    The operations of `float_layers` may be float, and so may the casts at their borders. Only the operations that are
    the cause have a hint; the others are float because of them.
    """
    # Weights of 4 bits and fewer are packed; only int8 kernels can read them.
    allowed = ("uint8", "int32") if scheme == "uint8" else ("int8", "int4", "int32")
    granted = _allowed_floats(model, float_layers)
    unsupported = [
        UnsupportedOp(*fault, _hint(model, operator))
        for operator in model.operators
        if operator not in granted
        for fault in _faults(model, operator, allowed)
    ]
    used = {index for operator in model.operators for index in (*operator.inputs, *operator.outputs)}
    for index, tensor in enumerate(model.tensors):
        if index not in used and tensor.dtype not in allowed:
            unsupported.append(UnsupportedOp("", "no operator", f"unused, of {tensor.dtype}", (tensor.name,)))
    return tuple(unsupported)


def _allowed_floats(model: Flatbuffer, float_layers: Collection[str]) -> set[Operator]:
    """Returns the operations of the layers that may be float, and the casts between them and the others."""
    # If the input has a FakeQuant there is no common scope, and the layers are named NETWORK/LAYER.
    ends = tuple(f"/{layer}" for layer in float_layers)
    granted = {each for each in model.operators if each.name not in _CASTS and f"/{model.layer(each)}".endswith(ends)}
    float_outputs = {index for each in granted for index in each.outputs}
    for cast in model.operators:
        readers = [each for each in model.operators if set(cast.outputs) & set(each.inputs)]
        if (cast.name == "DEQUANTIZE" and readers and granted.issuperset(readers)) or (
            cast.name == "QUANTIZE" and float_outputs.issuperset(cast.inputs)
        ):
            granted.add(cast)
    return granted


def layer_of(name: str, scope: str) -> str:
    """Returns the layer that contains a tensor: 'norm1' for 'CifarNet/norm1/LRN' within the scope 'CifarNet'.

    A fused tensor is named by all its ops, joined by semicolons; the first one counts.
    """
    parts = name.split(";", maxsplit=1)[0].split("/")
    if parts[0] == scope and len(parts) > 1:
        parts = parts[1:]
    parts = parts[:-1] or parts
    while len(parts) > 1 and parts[-1].endswith("_quant"):
        parts = parts[:-1]
    return "/".join(parts)


def scope_of(names: Iterable[str]) -> str:
    """Returns the first name scope of all names that have one, the network's; '' if there is not exactly one."""
    heads = {part.split("/", maxsplit=1)[0] for name in names for part in name.split(";") if "/" in part}
    return heads.pop() if len(heads) == 1 else ""


def _unreadable(path: Path, fault: Exception) -> ConversionError:
    return ConversionError("The file cannot be read as a .tflite.", [("file", path), ("why", fault)])


def _faults(
    model: Flatbuffer, operator: Operator, allowed: tuple[str, ...]
) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    tensors = [model.tensors[index] for index in (*operator.inputs, *operator.outputs)]
    wrong = [tensor for tensor in tensors if tensor.dtype not in allowed]
    types = ", ".join(dict.fromkeys(tensor.dtype for tensor in wrong))
    if operator.name in _CASTS:
        why = f"casts from {tensors[0].dtype} to {tensors[-1].dtype}"
    elif wrong:
        why = f"computes in {types}"
    else:
        return
    names = dict.fromkeys(tensor.name.split(";", maxsplit=1)[0] for tensor in wrong or tensors)
    yield model.layer(operator), operator.name, why, tuple(names)


def _hint(model: Flatbuffer, operator: Operator) -> str:
    """Returns what would make an operation integer; '' if it is float because of another one."""
    if operator.name in _HINTS:
        return _HINTS[operator.name]
    if operator.name not in _LAYERS or model.tensors[operator.outputs[0]].dtype != "float32":
        return ""
    readers = {each.name for each in model.operators if operator.outputs[0] in each.inputs}
    return "" if readers == {"QUANTIZE"} else "put a range (FakeQuant) after the activation"


def _tensor(tensor: flatbuffer_utils.TensorT) -> Tensor:
    quantization = tensor.quantization
    scales = () if quantization is None or quantization.scale is None else quantization.scale
    zero_points = () if quantization is None or quantization.zeroPoint is None else quantization.zeroPoint
    return Tensor(
        name=tensor.name.decode(),
        dtype=flatbuffer_utils.type_to_name(tensor.type).lower(),
        shape=() if tensor.shape is None else tuple(int(size) for size in tensor.shape),
        scales=tuple(float(scale) for scale in scales),
        zero_points=tuple(int(point) for point in zero_points),
    )


def _indices(indices: Iterable[int] | None, offset: int) -> tuple[int, ...]:
    """Returns indices into all tensors of the file, without absent optional inputs (-1)."""
    return () if indices is None else tuple(int(index) + offset for index in indices if index >= 0)
