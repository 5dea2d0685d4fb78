"""LiteRT's reference kernels: the one operator that ends their process, and the part of a file before it.

The quantized softmax adds up exponentials of at most 1 with 12 integer bits, and then shifts the quotient right by
31 - 8 plus the bits of the sum. From a sum of 512 on that is more than 31, and gemmlowp's RoundingDivideByPOT aborts
the process. A sum so large needs that many nearly equal values, so a softmax over fewer values never aborts; one over
more may, depending on the image. XNNPACK and the optimized kernels use a table of exponentials and are not affected.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from ai_edge_litert import schema_py_generated as schema

from qatbuild.worker.tflite.inspect import Flatbuffer, read

FEWEST_REFUSED = 512
"""Values in a quantized softmax from which on the reference kernels may abort."""

_QUANTIZED = frozenset({"int8", "uint8"})
_OUTPUTS, _OPERATORS = 8, 10
"""Positions in the vtable of the flatbuffer's SubGraph."""
_LENGTH_BYTES = 4


class Refused(NamedTuple):
    """The first operator that the reference kernels cannot compute: its position in the order of execution, and why."""

    position: int
    why: str


def refused(model: Flatbuffer) -> Refused | None:
    """Returns the first operator of a file that the reference kernels cannot compute; None if they compute all."""
    for position, operator in enumerate(model.operators):
        values = model.tensors[operator.inputs[0]] if operator.inputs else None
        if operator.name == "SOFTMAX" and values and values.dtype in _QUANTIZED and values.shape[-1] >= FEWEST_REFUSED:
            layer = f"{model.layer(operator)} (SOFTMAX over {values.shape[-1]:,} values)"
            return Refused(position, f"cannot compute {layer}: they abort if {FEWEST_REFUSED} of them are nearly equal")
    return None


def kernels_to_compare_with(path: Path) -> str:
    """Returns the kernels to compare other runtimes with, one of `interpret.KERNELS`: "reference" if they run."""
    return "reference" if refused(read(path)) is None else "builtin"


def before(path: Path, position: int) -> bytes:
    """Returns a file without its operators from `position` on; its output is the input of the first one left out.

    The lengths of two vectors and one index are overwritten in place: all else, weights included, stays where it is.
    """
    data = bytearray(path.read_bytes())
    graph = schema.Model.GetRootAs(data, 0).Subgraphs(0)
    last = int(graph.Operators(position).Inputs(0))

    def vector(field: int) -> int:
        return int(graph._tab.Vector(graph._tab.Offset(field)))  # noqa: SLF001  Generated code has no other way in.

    struct.pack_into("<I", data, vector(_OPERATORS) - _LENGTH_BYTES, position)
    struct.pack_into("<I", data, vector(_OUTPUTS) - _LENGTH_BYTES, 1)
    struct.pack_into("<i", data, vector(_OUTPUTS), last)
    return bytes(data)
