"""The parameters of a rewrite: mode, scheme, input scaling, delays, and overrides for single layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from qatbuild.exchange.errors import RewriteError

MODES = ("integer", "tf1")
SCHEMES = ("uint8", "int8", "int8_per_channel")
BITS = 8
FEWEST_BITS = 2
NARROWEST, WIDEST = 2.0**-8, 2.0**16
"""Limits of the width of a fixed range: beyond them the runtime has no multiplier from products to output values."""

Range = tuple[float, float]
"""(min, max) of real values."""


@dataclass(frozen=True)
class Override:
    """An exception for the layers whose name in the report matches `pattern` (fnmatch).

    range        (min, max) of the layer's output, instead of a learnt range
    bits         bits of the layer's weights, 2..8 (outputs have 8)
    keep_float   the layer gets no FakeQuant and stays float, also in the .tflite, and so do its readers
    """

    pattern: str
    range: Range | None = None
    bits: int | None = None
    keep_float: bool = False


@dataclass(frozen=True)
class Options:
    """The parameters of a rewrite.

    mean, std_dev           scaling of the input: real = (byte - mean) / std_dev
    mode                    "integer" models everything that the integer runtime rounds; "tf1" is tf.contrib.quantize
    scheme                  "uint8": asymmetric, per tensor. "int8": symmetric weights. "int8_per_channel": symmetric
                            weights with a range per output channel (dense layers: per tensor)
    overrides               exceptions for single layers; later ones take precedence
    quant_delay_steps       quantized from this step on; 0: from the first
    freeze_bn_delay_steps   from this step on batch norms use their moving averages; None: never
    input_ranges            range of real values by input (operation or tensor); None: learnt in training, measured in
                            calibration. An input without an entry has the range of bytes, by mean and std_dev
    folded_inputs           inputs (operations or tensors) whose product and sum with constants by channel must become a
                            part of the layers that read them; those of other inputs do where it is exact
    output_ranges           fixed range by tensor at an end of the network, for that tensor and all that share its range

    RewriteError if a value is not allowed.
    """

    mean: float
    std_dev: float
    mode: str = "integer"
    scheme: str = "uint8"
    overrides: tuple[Override, ...] = ()
    quant_delay_steps: int = 0
    freeze_bn_delay_steps: int | None = None
    input_ranges: Mapping[str, Range | None] = field(default_factory=dict)
    output_ranges: Mapping[str, Range] = field(default_factory=dict)
    folded_inputs: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Raises a RewriteError with all invalid values."""
        faults = [*self._invalid_values(), *self._not_in_tf1()]
        for override in self.overrides:
            faults += [(f"override {override.pattern}", why) for why in _faults(override, self.scheme)]
        for end, ends in (*self.input_ranges.items(), *self.output_ranges.items()):
            faults += [(f"range of {end}", why) for why in _range_faults(ends)]
        if faults:
            raise RewriteError(
                "Invalid quantization options.",
                faults,
                'The default is {"mode": "integer", "scheme": "uint8"}; see "quantize" in the schema.',
            )

    def _invalid_values(self) -> Iterator[tuple[str, object]]:
        if self.mode not in MODES:
            yield "mode", f"{self.mode}: it must be one of {', '.join(MODES)}"
        if self.scheme not in SCHEMES:
            yield "scheme", f"{self.scheme}: it must be one of {', '.join(SCHEMES)}"
        if not self.std_dev > 0:
            yield "std_dev", f"{self.std_dev}: it must be positive"
        for name, steps in (("quant_delay", self.quant_delay_steps), ("freeze_bn_delay", self.freeze_bn_delay_steps)):
            if steps is not None and steps < 0:
                yield name, f"{steps}: it must be a number of steps, 0 or more"

    def _not_in_tf1(self) -> Iterator[tuple[str, object]]:
        if self.mode == "tf1" and self.overrides:
            yield "overrides", "mode tf1 has no overrides"
        for name, ranges in (("input_ranges", self.input_ranges), ("output_ranges", self.output_ranges)):
            if self.mode == "tf1" and ranges:
                yield name, "mode tf1 gives inputs and outputs no ranges of their own"
        if self.mode == "tf1" and self.folded_inputs:
            yield "folded_inputs", "mode tf1 does not scale inputs by channel"
        if self.mode == "tf1" and self.scheme == "int8_per_channel":
            yield "scheme", "mode tf1 has no ranges per channel"


def _faults(override: Override, scheme: str) -> list[str]:
    faults = []
    if override.range is None and override.bits is None and not override.keep_float:
        faults.append("it changes nothing: set range, bits or float")
    if override.keep_float and (override.range is not None or override.bits is not None):
        faults.append("a layer that stays float has neither range nor bits")
    faults += _range_faults(override.range)
    if override.bits is not None and not FEWEST_BITS <= override.bits <= BITS:
        faults.append(f"bits is {override.bits}: weights have {FEWEST_BITS} to {BITS}")
    elif override.bits not in {None, BITS} and scheme == "uint8":
        faults.append(f"bits is {override.bits}: uint8 kernels compute wrongly unless it is {BITS}")
    return faults


def _range_faults(ends: Range | None) -> list[str]:
    if ends is None:
        return []
    width = f"{ends[0]:g} .. {ends[1]:g}"
    if not ends[0] <= 0 <= ends[1] > ends[0]:
        return [f"the range {width} must contain 0 and not be empty"]
    if not NARROWEST <= ends[1] - ends[0] <= WIDEST:
        return [f"the range {width} must be {NARROWEST:g} to {WIDEST:g} wide: the kernels cannot rescale to any other"]
    return []
