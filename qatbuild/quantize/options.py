"""What can be asked of a rewrite: mode, scheme, input, delays, and exceptions by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qatbuild.exchange.errors import RewriteError

MODES = ("integer", "tf1")
SCHEMES = ("uint8", "int8", "int8_per_channel")
BITS = 8
FEWEST_BITS = 2
NARROWEST, WIDEST = 2.0**-8, 2.0**16
"""Of the width of a fixed range. Beyond them no factor of the runtime's leads from products to codes of the output."""


@dataclass(frozen=True)
class Override:
    """An exception for the layers whose name matches `pattern` (as fnmatch has it), names as a report's rows have them.

    `range` fixes the range of the layer's output, `bits` is how many its weights have (outputs have 8), `keep_float`
    leaves the layer without any FakeQuant: it stays float, also in the .tflite, and so does what it feeds.
    """

    pattern: str
    range: tuple[float, float] | None = None
    bits: int | None = None
    keep_float: bool = False


@dataclass(frozen=True)
class Options:
    """How a graph is to be rewritten.

    `mean`, `std_dev`: the input is real = (byte - mean) / std_dev. `mode` "integer" models everything that the integer
    runtime rounds, "tf1" does what tf.contrib.quantize did. `scheme` "uint8" is asymmetric per tensor, "int8" has
    symmetric weights, "int8_per_channel" symmetric weights with a range for each output channel (dense layers: per
    tensor). Of `overrides` later ones win. `quant_delay_steps` 0: quantized from the first step. From step
    `freeze_bn_delay_steps` on batch norms take their moving averages; None: never.

    RewriteError if a value is none of these.
    """

    mean: float
    std_dev: float
    mode: str = "integer"
    scheme: str = "uint8"
    overrides: tuple[Override, ...] = ()
    quant_delay_steps: int = 0
    freeze_bn_delay_steps: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no rewrite could do, all at once."""
        faults = [*self._unknown(), *self._not_of_tf1()]
        for override in self.overrides:
            faults += [(f"override {override.pattern}", why) for why in _faults(override, self.scheme)]
        if faults:
            raise RewriteError(
                "The quantization that was asked for does not exist.",
                faults,
                'See "quantize" in the schema: {"mode": "integer", "scheme": "uint8"} is the default.',
            )

    def _unknown(self) -> Iterator[tuple[str, object]]:
        if self.mode not in MODES:
            yield "mode", f"{self.mode}: there are {', '.join(MODES)}"
        if self.scheme not in SCHEMES:
            yield "scheme", f"{self.scheme}: there are {', '.join(SCHEMES)}"
        if not self.std_dev > 0:
            yield "std_dev", f"{self.std_dev}: it must be positive"
        for name, steps in (("quant_delay", self.quant_delay_steps), ("freeze_bn_delay", self.freeze_bn_delay_steps)):
            if steps is not None and steps < 0:
                yield name, f"{steps}: a delay is a number of steps, 0 or more"

    def _not_of_tf1(self) -> Iterator[tuple[str, object]]:
        if self.mode == "tf1" and self.overrides:
            yield "overrides", "the mode tf1 has none"
        if self.mode == "tf1" and self.scheme == "int8_per_channel":
            yield "scheme", "the mode tf1 has no ranges per channel"


def _faults(override: Override, scheme: str) -> list[str]:
    faults = []
    if override.range is None and override.bits is None and not override.keep_float:
        faults.append("it says nothing: give a range, bits, or keep the layer in float")
    if override.keep_float and (override.range is not None or override.bits is not None):
        faults.append("a layer that stays float has neither range nor bits")
    if override.range is not None and not override.range[0] <= 0 <= override.range[1] > override.range[0]:
        faults.append(f"the range {override.range[0]:g} .. {override.range[1]:g} must contain 0 and not be empty")
    elif override.range is not None and not NARROWEST <= override.range[1] - override.range[0] <= WIDEST:
        width = f"{override.range[0]:g} .. {override.range[1]:g}"
        faults.append(f"the range {width} must be {NARROWEST:g} to {WIDEST:g} wide: the kernels take no other")
    if override.bits is not None and not FEWEST_BITS <= override.bits <= BITS:
        faults.append(f"{override.bits} bits: weights have {FEWEST_BITS} to {BITS}")
    elif override.bits not in {None, BITS} and scheme == "uint8":
        faults.append(f"{override.bits} bits: uint8 kernels compute wrongly with other than {BITS}")
    return faults
