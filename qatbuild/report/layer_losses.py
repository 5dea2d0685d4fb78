"""What a report says about each layer's loss, read for the diagnosis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from qatbuild.exchange.layer_signs import InputSign, LayerSigns, Range
from qatbuild.schema.model import Override, Variant

LOST_DB = 30.0
"""A layer that keeps more signal than this is no loss: rounding to 8 bits leaves 35 to 50 dB."""

HALF_DB = 3.0
"""Half of a noise is this much below it."""

_FIXED = ("LOGISTIC", "SOFTMAX", "TANH")
"""Operators whose grid no spec changes."""

_INPUT = "INPUT"
_SIGNS = frozenset(LayerSigns._fields)


class Layer(NamedTuple):
    """A row of report.json's "layers": dB by itself and from the float network, None without a loss, and the signs.

    `name` is the one that quantize.overrides takes, where it takes one.
    """

    name: str
    operator: str
    alone_db: float | None
    from_float_db: float | None
    signs: LayerSigns

    @property
    def loses(self) -> bool:
        """Whether the layer by itself loses more than rounding."""
        return self.alone_db is not None and self.alone_db < LOST_DB

    def explains(self, db: float) -> bool:
        """Whether the noise of the layer by itself is at least half of one that leaves `db`."""
        return self.alone_db is not None and self.alone_db <= db + HALF_DB

    @property
    def values(self) -> Range:
        """The values that the layer has in float."""
        return self.signs.values or self.signs.range

    @property
    def has_override_name(self) -> bool:
        """Whether quantize.overrides can name the layer: not an input, nor a join of several layers."""
        return self.signs.override_name is not None

    @property
    def is_input(self) -> bool:
        """Whether this is an input of the network: see `of_input`."""
        return self.operator == _INPUT

    def of_input(self, sign: InputSign) -> Layer:
        """The input that this layer reads, as a layer."""
        signs = LayerSigns(
            sign.range,
            sign.bulk_percent,
            values=sign.values,
            float_values=sign.values,
            clipped_percent=sign.clipped_percent,
            channel_percent=sign.channel_percent,
            clipped_db=sign.clipped_db,
        )
        return Layer(sign.name, _INPUT, sign.db, sign.db, signs)


def has_signs(report: Mapping[str, Any]) -> bool:
    """Returns whether a report has the signs of this version: other versions measured fewer, or others."""
    measured = [row["signs"] for row in report.get("layers", ()) if "signs" in row]
    return bool(measured) and all(each.keys() == _SIGNS for each in measured)


def layers(report: Mapping[str, Any]) -> Iterator[Layer]:
    """Yields the layers in the order of execution. Rows without signs are left out."""
    for row in sorted(report.get("layers", ()), key=lambda row: row["position"]):
        if "signs" in row and row["operator"] not in _FIXED:
            noise, signs = row["sqnr_db"], LayerSigns.of(row["signs"])
            name = signs.override_name or row["name"]
            yield Layer(name, row["operator"], noise["alone"], noise["float"], signs)


def overrides_of(layer: Layer, variant: Variant) -> list[Override]:
    """Returns the overrides of a spec that are for a layer."""
    return [each for each in variant.quantize.overrides if fnmatchcase(layer.name, each.layer)]
