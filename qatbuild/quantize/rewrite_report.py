"""What a rewrite did, as data: for the build's records and for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class FoldedBatchNorm:
    """A batch norm that became part of its layer's weights and bias: the tensors that hold them, and the result."""

    layer: str
    batch_norm: str
    weights: str
    output: str
    bias: str


@dataclass(frozen=True)
class QuantizedTensor:
    """A FakeQuant that was inserted: on `tensor`, read by `consumers`, with its range in two variables.

    Rows that share a range name the same variables. A range that nothing can change is `fixed`, (least, greatest), and
    its variables are named ''. `symmetric`: least = -greatest. `per_channel` is the axis along which each index has a
    range of its own (the variables are vectors), or None.
    """

    layer: str
    role: str
    tensor: str
    consumers: tuple[str, ...]
    min_variable: str
    max_variable: str
    bits: int
    narrow_range: bool
    symmetric: bool = False
    per_channel: int | None = None
    fixed: tuple[float, float] | None = None


@dataclass(frozen=True)
class SharedTensor:
    """A FakeQuant that was not inserted, because the tensor has one already: `min_variable` is of that one."""

    layer: str
    role: str
    tensor: str
    fake_quant: str


@dataclass(frozen=True)
class LeftFloat:
    """A layer that could not be quantized, or a batch norm not folded: it stays float, also in the .tflite."""

    layer: str
    operation: str
    reason: str


@dataclass(frozen=True)
class RewriteReport:
    """Everything a rewrite did to a graph, in the order of the work."""

    folded: tuple[FoldedBatchNorm, ...] = ()
    quantized: tuple[QuantizedTensor, ...] = ()
    shared: tuple[SharedTensor, ...] = ()
    left_float: tuple[LeftFloat, ...] = ()

    def to_json(self) -> str:
        """The report as JSON text: equal for equal reports."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"
