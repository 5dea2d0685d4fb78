"""The parameters of a rewrite: mode, scheme, input scaling, delays, and overrides for single layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qatbuild.exchange.errors import RewriteError

MODES = ("integer", "tf1")
SCHEMES = ("uint8", "int8", "int8_per_channel")
BITS = 8
FEWEST_BITS = 2
NARROWEST, WIDEST = 2.0**-8, 2.0**16
"""Limits of the width of a fixed range: beyond them the runtime has no multiplier from products to output values."""


@dataclass(frozen=True)
class Override:
    """An exception for the layers whose name in the report matches `pattern` (fnmatch).

    range        (min, max) of the layer's output, instead of a learnt range
    bits         bits of the layer's weights, 2..8 (outputs have 8)
    keep_float   the layer gets no FakeQuant and stays float, also in the .tflite, and so do its readers
    """

    pattern: str
    range: tuple[float, float] | None = None
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

    RewriteError if a value is not allowed.
    """

    mean: float
    std_dev: float
    mode: str = "integer"
    scheme: str = "uint8"
    overrides: tuple[Override, ...] = ()
    quant_delay_steps: int = 0
    freeze_bn_delay_steps: int | None = None

    def __post_init__(self) -> None:
        """Raise a RewriteError with all invalid values."""
        faults = [*self._invalid_values(), *self._not_in_tf1()]
        for override in self.overrides:
            faults += [(f"override {override.pattern}", why) for why in _faults(override, self.scheme)]
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
        if self.mode == "tf1" and self.scheme == "int8_per_channel":
            yield "scheme", "mode tf1 has no ranges per channel"


def _faults(override: Override, scheme: str) -> list[str]:
    faults = []
    if override.range is None and override.bits is None and not override.keep_float:
        faults.append("it changes nothing: set range, bits or float")
    if override.keep_float and (override.range is not None or override.bits is not None):
        faults.append("a layer that stays float has neither range nor bits")
    if override.range is not None and not override.range[0] <= 0 <= override.range[1] > override.range[0]:
        faults.append(f"the range {override.range[0]:g} .. {override.range[1]:g} must contain 0 and not be empty")
    elif override.range is not None and not NARROWEST <= override.range[1] - override.range[0] <= WIDEST:
        width = f"{override.range[0]:g} .. {override.range[1]:g}"
        faults.append(
            f"the range {width} must be {NARROWEST:g} to {WIDEST:g} wide: the kernels cannot rescale to any other"
        )
    if override.bits is not None and not FEWEST_BITS <= override.bits <= BITS:
        faults.append(f"bits is {override.bits}: weights have {FEWEST_BITS} to {BITS}")
    elif override.bits not in {None, BITS} and scheme == "uint8":
        faults.append(f"bits is {override.bits}: uint8 kernels compute wrongly unless it is {BITS}")
    return faults
