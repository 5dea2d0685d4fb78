"""The report of a rewrite, as data: folded batch norms, inserted FakeQuants, layers that stay float."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class FoldedBatchNorm:
    """A batch norm that was folded into its layer, by the names of the resulting weights, bias and output tensors."""

    layer: str
    batch_norm: str
    weights: str
    output: str
    bias: str


@dataclass(frozen=True)
class QuantizedTensor:
    """A FakeQuant that was inserted: on `tensor`, read by `consumers`, with its range in two variables.

    Rows that share a range name the same variables. `fixed` is the (min, max) of a range that is not learnt; its
    variables are named ''. `symmetric`: min = -max. `quantized_dimension` is the axis of which every index has a range
    of its own (the variables are vectors), or None with one range for the whole tensor.
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
    quantized_dimension: int | None = None
    fixed: tuple[float, float] | None = None

    @property
    def is_input(self) -> bool:
        """Whether it is on an input of the network."""
        return self.role == "input_quant"


@dataclass(frozen=True)
class SharedTensor:
    """A FakeQuant that was not inserted because the tensor already has one, named `fake_quant`."""

    layer: str
    role: str
    tensor: str
    fake_quant: str


@dataclass(frozen=True)
class LeftFloat:
    """A layer without FakeQuants, or a batch norm that was not folded: it stays float, also in the .tflite."""

    layer: str
    operation: str
    reason: str


@dataclass(frozen=True)
class RewriteReport:
    """Everything that a rewrite did to a graph, in order."""

    folded: tuple[FoldedBatchNorm, ...] = ()
    quantized: tuple[QuantizedTensor, ...] = ()
    shared: tuple[SharedTensor, ...] = ()
    left_float: tuple[LeftFloat, ...] = ()

    def to_json(self) -> str:
        """Returns the report as JSON text; equal reports give equal text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"
