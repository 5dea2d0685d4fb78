"""The integers that a file's inputs and outputs must have, from the spec and the ranges of the frozen graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.exchange.errors import ConversionError
from qatbuild.exchange.scaling import InputScaling, RealInput
from qatbuild.worker import graph_def
from qatbuild.worker.tflite.affine import quant_params
from qatbuild.worker.tflite.fake_quant_nodes import FAKE_QUANTS, PER_TENSOR, TRANSPARENT, bits_of, range_of

_INT8_SHIFT = 128
_CLASSES = "ArgMax"
_PROBABILITIES = frozenset({"Softmax", "Sigmoid"})
_STEPS_OF_1_256 = (0.0, 255 / 256)
_MOVES = frozenset(
    {*TRANSPARENT, "ConcatV2", "Squeeze", "ExpandDims", "StridedSlice", "Slice", "Split", "Pack", "Unpack", "MaxPool"}
    | {
        "Pad",
        "PadV2",
        "MirrorPad",
        "SpaceToDepth",
        "DepthToSpace",
        "SpaceToBatchND",
        "BatchToSpaceND",
        "GatherV2",
        "Tile",
    }
    | {"ResizeNearestNeighbor", "ResizeBilinear", "ReverseV2"}
)
"""Operations whose output has the scale of their first input: a concatenation has one range for all that it joins."""


class End(NamedTuple):
    """Wanted integers of an input or output: real = (integer - zero_point) / std_dev; `operation` is the graph's."""

    operation: str
    dtype: str
    std_dev: float
    zero_point: int

    @property
    def scale(self) -> float:
        """The real value of one step."""
        return 1 / self.std_dev


class Ends(NamedTuple):
    """The inputs and outputs of a file by name, in its order."""

    inputs: Mapping[str, End]
    outputs: Mapping[str, End]


def wanted(
    frozen_graph: Path,
    inputs: Mapping[str, tuple[str, InputScaling]],
    outputs: Mapping[str, str],
    scheme: str,
) -> Ends:
    """Returns the wanted ends of the file of a frozen graph.

    `inputs`: name -> (operation, scaling); `outputs`: name -> operation. The runtime fixes the range of probabilities;
    others have that of their FakeQuant. ConversionError if the graph has no range for an end.
    """
    nodes = graph_def.nodes_by_name(graph_def.read(frozen_graph, ConversionError))
    dtype, shift = ("uint8", 0) if scheme == "uint8" else ("int8", _INT8_SHIFT)

    def end(operation: str, ends: tuple[Any, Any]) -> End:
        params = quant_params(*ends)
        return End(operation, dtype, 1 / float(params.scale), int(params.zero_point) - shift)

    def input_end(operation: str, scaling: InputScaling) -> End:
        if isinstance(scaling, RealInput):
            return end(operation, _range_behind(nodes, operation))
        return End(operation, dtype, scaling.std_dev, scaling.zero_point - shift)

    def output_end(operation: str) -> End:
        if nodes[operation].op == _CLASSES:
            return End(operation, "int32", 1.0, 0)
        is_probability = nodes[operation].op in _PROBABILITIES
        return end(operation, _STEPS_OF_1_256 if is_probability else _range_before(nodes, operation))

    return Ends(
        {name: input_end(*each) for name, each in inputs.items()},
        {name: output_end(each) for name, each in outputs.items()},
    )


def _range_behind(nodes: Mapping[str, Any], operation: str) -> tuple[Any, Any]:
    """Returns the range of the FakeQuant that reads an input."""
    for node in nodes.values():
        if node.op in PER_TENSOR and graph_def.op_name(node.input[0]) == operation:
            ends = range_of(nodes, node)
            if ends is not None:
                return ends
    raise _without_range(operation, "input")


def _range_before(nodes: Mapping[str, Any], operation: str) -> tuple[Any, Any]:
    """Returns the range of the FakeQuant that an output reads, directly or through operations that move values."""
    node = nodes[operation]
    while node.op in _MOVES:
        node = nodes[graph_def.op_name(node.input[0])]
    if node.op not in FAKE_QUANTS:
        raise _without_range(operation, "output")
    ends = range_of(nodes, node)
    if ends is None or bits_of(node) > 8:  # noqa: PLR2004  Values of a file have eight bits.
        raise _without_range(operation, "output")
    return ends


def _without_range(operation: str, end: str) -> ConversionError:
    return ConversionError(f"An {end} of the graph has no range.", [(end, operation)])
