"""FakeQuant nodes of a frozen GraphDef: their op types, bits and ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker import graph_def

PER_TENSOR = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs")
PER_CHANNEL = "FakeQuantWithMinMaxVarsPerChannel"
FAKE_QUANTS = (*PER_TENSOR, PER_CHANNEL)
DEFAULT_BITS = 8
TRANSPARENT = ("Identity", "Reshape", "Transpose")
"""Op types that only pass values on."""


def bits_of(node: Any) -> int:
    """Returns the number of bits of a FakeQuant node."""
    return int(node.attr["num_bits"].i) if "num_bits" in node.attr else DEFAULT_BITS


def range_of(nodes: Mapping[str, Any], node: Any) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Returns (min, max) of a FakeQuant node, scalars or [channels]; None if the graph computes them."""
    if node.op == "FakeQuantWithMinMaxArgs":
        return np.asarray(node.attr["min"].f), np.asarray(node.attr["max"].f)
    range_min, range_max = (graph_def.source(nodes, name, TRANSPARENT) for name in node.input[1:3])
    if not (graph_def.is_constant(range_min) and graph_def.is_constant(range_max)):
        return None
    return graph_def.constant(range_min), graph_def.constant(range_max)
