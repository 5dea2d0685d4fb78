"""The names of layers in `quantize.overrides`, read off a fake-quantized graph.

The .tflite names an operator by the last operation that was fused into it, an activation perhaps: stem_relu. A spec
names the layer: stem. So does the FakeQuant behind it, SCOPE/stem/act_quant/FakeQuantWithMinMaxVars. What only moves
values, and what rounds to the range of its input, has the name of the layer that gave the range.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from qatbuild.worker.graph_def import op_name
from qatbuild.worker.tflite.fake_quant_nodes import FAKE_QUANTS
from qatbuild.worker.tflite.pairing import IndexedGraph

# Written out: the evaluation runs no module of quantize, so that an edit there evaluates nothing again.
MOVES = frozenset({
    "BatchToSpaceND", "CheckNumerics", "DepthToSpace", "EnsureShape", "ExpandDims", "GatherV2", "Identity", "IdentityN",
    "Max", "MaxPool", "MirrorPad", "Pad", "PlaceholderWithDefault", "PreventGradient", "Reshape",
    "ResizeNearestNeighbor", "Slice", "Snapshot", "SpaceToBatchND", "SpaceToDepth", "Split", "SplitV", "Squeeze",
    "StopGradient", "StridedSlice", "Tile", "Transpose", "Unpack",
})  # fmt: skip
"""Operations that only move values: `same_scale` in quantize.graph.integer_ops."""

ROUNDS = frozenset({"AvgPool", "Mean", "PadV2", "Relu", "Relu6", "ResizeBilinear"})
"""Operations that round to the range of their input: `same_scale_requantized` there."""

_INPUT = re.compile(r"(.*/)?input_quant(_\d+)?$")
_WEIGHTS = re.compile(r".*/weights_quant(_\d+)?$")
_LAYER = re.compile(r".*/act_quant(_\d+)?$")


class OverrideNames:
    """The names for the tensors of one fake-quantized graph."""

    def __init__(self, graph: IndexedGraph) -> None:
        """Finds the scope of the network."""
        self._graph = graph
        self._scope = _network_scope(_parent(str(node.name)) for node in graph.nodes.values() if node.op in FAKE_QUANTS)

    def of(self, tensor: str) -> str | None:
        """Returns the name of the layer that gives a tensor its range; None for an input's, or a joined one."""
        node = self._graph.nodes[op_name(tensor)]
        while node.op in MOVES:
            node = self._graph.nodes[op_name(node.input[0])]
        if node.op not in FAKE_QUANTS:
            return None
        scope = self._range_scope(node)
        return None if _INPUT.match(scope) else _layer_name(scope.removeprefix(self._scope))

    def _range_scope(self, node: Any) -> str:
        """Returns the scope of the FakeQuant that a range was made for: this node's, or that of its input."""
        scope = _parent(str(node.name))
        rounded = self._graph.nodes[self._graph.source(str(node.name))].op in ROUNDS
        return _parent(str(node.input[1])) if rounded and not _LAYER.match(scope) else scope


def _network_scope(scopes: Iterable[str]) -> str:
    """Returns the scope that all layers lie in, with a slash; '' if there are several."""
    names = [scope for scope in scopes if not _INPUT.match(scope)]
    weights = [name for name in names if _WEIGHTS.match(name)]
    heads = {name.partition("/")[0] for name in (weights if len(weights) > 1 else names)}
    return f"{heads.pop()}/" if len(heads) == 1 else ""


def _layer_name(scope: str) -> str:
    return _parent(scope) or scope


def _parent(name: str) -> str:
    return name.rpartition("/")[0]
