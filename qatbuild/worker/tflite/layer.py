"""One operator of a .tflite, and what is summed up about it over batches of examples: see layers.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.details import Histogram
from qatbuild.worker.tflite import inspect, signs
from qatbuild.worker.tflite.histograms import Accumulated, is_quantized

Quantized = Mapping[int, NDArray[Any]]
"""Quantized values of the .tflite's tensors, by index."""

_BLOCK = 1 << 14
"""Values that are compared together: in float64 they stay in the processor's cache."""

_FLOAT_NOISE = 1e-10
"""Relative noise between two float computations of the same values: 100 dB."""

_NO_SIGNAL_DB = -100.0


@dataclass
class Noise:
    """Sums over batches: power of the reference, power of the difference, and the largest difference in LSB."""

    signal: float = 0.0
    noise: float = 0.0
    largest_lsb: float = 0.0
    has_reference: bool = False

    def add(self, reference: NDArray[Any], quantized: NDArray[Any], tensor: inspect.Tensor) -> None:
        """Compares real values with the quantized ones of `tensor`, of the same size."""
        references, integers = reference.ravel(), quantized.ravel()
        for start in range(0, references.size, _BLOCK):
            wanted = references[start : start + _BLOCK] / np.float64(tensor.scales[0])
            difference = wanted - integers[start : start + _BLOCK]
            difference += tensor.zero_points[0]
            self.signal += float(wanted @ wanted)
            self.noise += float(difference @ difference)
            self.largest_lsb = max(self.largest_lsb, float(difference.max()), -float(difference.min()))
        self.has_reference = True

    @property
    def sqnr_db(self) -> float | None:
        """The SQNR; None without a reference, and without a loss."""
        if self.noise <= self.signal * _FLOAT_NOISE:
            return None
        if not self.signal:
            return _NO_SIGNAL_DB
        return round(10 * float(np.log10(self.signal / self.noise)), 1)

    @property
    def max_lsb(self) -> float | None:
        """The largest difference; None without a reference."""
        return round(self.largest_lsb, 2) if self.has_reference else None


@dataclass
class Layer:
    """One operator of the .tflite, its output tensor, the graphs' tensors with the same values, and the figures.

    `counts`: how often each of the 256 quantized values occurred in the output, by its bits as uint8.
    """

    name: str
    operator: inspect.Operator
    tensor: inspect.Tensor
    index: int
    fake_quant: str | None = None
    floating: str | None = None
    against: dict[str, Noise] = field(
        default_factory=lambda: {name: Noise() for name in ("float", "fake_quant", "same_inputs", "alone")}
    )
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(signs.LEVELS, np.int64))
    float_ends: signs.Ends = field(default_factory=signs.Ends)
    spread: signs.Spread = field(init=False)
    values: Accumulated | None = field(init=False)

    def __post_init__(self) -> None:
        self.spread = signs.Spread(signs.Grid.of(self.tensor))
        self.values = Accumulated(self.tensor) if is_quantized(self.tensor) else None

    def add(self, kind: str, reference: NDArray[Any] | None, quantized: Quantized) -> None:
        """Compares the output with a reference; one of another size is ignored."""
        if reference is not None and reference.size == quantized[self.index].size:
            self.against[kind].add(reference, quantized[self.index], self.tensor)
            if kind == "alone":
                self.spread.add(reference)
                if self.values is not None:
                    self.values.add(reference)
            elif kind == "float":
                self.float_ends.add(reference)

    def count(self, quantized: NDArray[Any]) -> None:
        """Counts the values of the output, 8 bits each."""
        codes = quantized.ravel().view(np.uint8)
        for start in range(0, codes.size, _BLOCK):
            self.counts += np.bincount(codes[start : start + _BLOCK], minlength=signs.LEVELS)

    @property
    def ordered_counts(self) -> NDArray[np.int64]:
        """The counts from the smallest quantized value on."""
        return np.roll(self.counts, signs.LEVELS // 2) if self._is_signed else self.counts

    @property
    def _is_signed(self) -> bool:
        return self.tensor.dtype == "int8"  # Its smallest value has the bits of 128.

    def row(self) -> dict[str, Any]:
        """Returns the figures without the position and the signs: see `measure`."""
        counts = self.ordered_counts
        used = np.flatnonzero(counts)
        zero = self.tensor.zero_points[0] + (signs.LEVELS // 2 if self._is_signed else 0)
        saturated = [end for end in (0, signs.LEVELS - 1) if end != zero]  # the zero point stands for an exact 0
        total = int(counts.sum())
        noise = self.against
        return {
            "name": self.name,
            "operator": self.operator.name,
            "partner": self.fake_quant,
            "sqnr_db": {key: noise[key].sqnr_db for key in ("float", "fake_quant", "alone")},
            "max_lsb": {key: noise[key].max_lsb for key in ("fake_quant", "same_inputs")},
            "codes_used_percent": round(100 * (int(used[-1]) - int(used[0]) + 1) / signs.LEVELS, 2),
            "saturated_percent": round(100 * int(counts[saturated].sum()) / total, 2),
        }

    def histogram(self) -> Histogram | None:
        """Returns that of the layer alone; without a reference, that of the .tflite's values."""
        if self.values is not None and not self.against["alone"].has_reference:
            quantized = Accumulated(self.tensor)
            quantized.add_codes(self.ordered_counts)
            return quantized.histogram()
        return self.values.histogram() if self.values is not None else None
