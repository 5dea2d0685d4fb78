"""Why the layers of a model lose accuracy: the likely cause of each in words, and the fields of the spec to change.

The evaluate stage measures how each layer's values and weights lie in their quantization grids (`LayerSigns`). A sign
says what happens; how the spec makes the ranges says why: values beyond the grid are an override's fault, a
percentile's, or that of too few images or steps. A layer is named if its signal to noise ratio by itself is low.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from qatbuild.exchange.layer_signs import LayerSigns, Range
from qatbuild.schema.model import Override, Variant

_LOST_DB = 30.0
"""A layer that keeps more signal than this is no loss: rounding to 8 bits leaves 35 to 50 dB."""

_MOVED_DB = 5.0
"""After a fine-tuning as it should be, layers are further than this above the float network's."""

_FEW_PERCENT = 12.5
"""Of the grid: 3 of the 8 bits are unused."""

_FEW_OF_CHANNEL_PERCENT = 5.0
_CLIPPED_PERCENT = 0.05
_SHIFT = 0.25
_RATIO = 2.0
_FEWEST_BATCH_NORM_STEPS = 1000
_FEWEST_STEPS = 100
_FEWEST_IMAGES = 100
_BITS = 8
_FIXED = ("LOGISTIC", "SOFTMAX", "TANH")
"""Operators whose grid no spec changes."""


class Cause(StrEnum):
    """Why a layer loses accuracy."""

    BATCH_NORM = "batch_norm"
    FEW_BITS = "few_bits"
    FEW_IMAGES = "few_images"
    FEW_STEPS = "few_steps"
    LEARNING_RATE = "learning_rate"
    MIXED_RANGES = "mixed_ranges"
    NARROW_OVERRIDE = "narrow_override"
    OUTLIERS = "outliers"
    OUTPUT_CHANNELS = "output_channels"
    PERCENTILE = "percentile"
    ROUNDING = "rounding"
    UNLIKE_TEST = "unlike_test"
    WEIGHT_CHANNELS = "weight_channels"
    WIDE_OVERRIDE = "wide_override"


_CLIPPING = {Cause.FEW_IMAGES, Cause.FEW_STEPS, Cause.NARROW_OVERRIDE, Cause.PERCENTILE, Cause.UNLIKE_TEST}


class Layer(NamedTuple):
    """A row of report.json's "layers": dB by itself and from the float network, None without a loss, and the signs."""

    name: str
    operator: str
    alone_db: float | None
    from_float_db: float | None
    signs: LayerSigns

    @property
    def loses(self) -> bool:
        """Whether the layer by itself loses more than rounding."""
        return self.alone_db is not None and self.alone_db < _LOST_DB

    @property
    def values(self) -> Range:
        """The values that the layer has in float."""
        return self.signs.values or self.signs.range


class Finding(NamedTuple):
    """A layer, the cause, a sentence about it, and the fields of the spec to change.

    `db` is the signal to noise ratio that the cause leaves to the layer's values; the lowest comes first.
    """

    layer: Layer
    cause: Cause
    text: str
    fields: tuple[str, ...]
    db: float

    def to_json(self) -> dict[str, Any]:
        """The finding for scripts."""
        layer = self.layer
        return {
            "layer": layer.name,
            "operator": layer.operator,
            "cause": self.cause.value,
            "text": self.text,
            "fields": list(self.fields),
            "sqnr_db": None if math.isinf(self.db) else round(self.db, 1),
        }


class _Case(NamedTuple):
    """A layer among all of its model, the overrides for it, and the spec that made them."""

    layer: Layer
    layers: Sequence[Layer]
    overrides: Sequence[Override]
    variant: Variant

    @property
    def has_fixed_range(self) -> bool:
        """Whether an override gives the layer its range."""
        return any(each.range is not None for each in self.overrides)

    def finding(self, cause: Cause, text: str, *fields: str, db: float | None = None) -> Finding:
        """A finding about the layer; the dB are the layer's own by default."""
        remaining_db = self.layer.alone_db if db is None else db
        return Finding(self.layer, cause, text, fields, math.inf if remaining_db is None else remaining_db)


def diagnose(report: Mapping[str, Any], variant: Variant) -> list[Finding]:
    """Returns the causes for which a model loses accuracy, worst first; none for one that only rounds.

    `report` is the model's report.json, `variant` its spec. Rows of layers without signs are left out.
    """
    layers = list(_layers(report))
    if moved := _moved_by_training(layers, variant):
        return [moved]
    cases = [_Case(layer, layers, overrides_of(layer, variant), variant) for layer in layers]
    findings = list(_without_consequences(map(_finding, cases)))
    return sorted(findings, key=lambda finding: finding.db)


def _without_consequences(findings: Iterable[Finding | None]) -> Iterator[Finding]:
    """Leaves out ranges that are too wide only because an earlier layer's values are cut off."""
    is_clipped = False
    for finding in findings:
        if finding is not None and not (is_clipped and finding.cause is Cause.OUTLIERS):
            is_clipped |= finding.cause in _CLIPPING
            yield finding


def overrides_of(layer: Layer, variant: Variant) -> list[Override]:
    """Returns the overrides of a spec that are for a layer."""
    return [each for each in variant.quantize.overrides if fnmatchcase(layer.name, each.layer)]


def _layers(report: Mapping[str, Any]) -> Iterator[Layer]:
    """Yields the layers in the order of execution."""
    for row in sorted(report.get("layers", ()), key=lambda row: row["position"]):
        if "signs" in row and row["operator"] not in _FIXED:
            noise = row["sqnr_db"]
            signs = LayerSigns.of(row["signs"])
            yield Layer(row["name"], row["operator"], noise["alone"], noise["float"], signs)


def _moved_by_training(layers: Sequence[Layer], variant: Variant) -> Finding | None:
    """Returns the first layer that computes something else than before the fine-tuning, though it rounds well."""
    far = (each for each in layers if each.from_float_db is not None and each.from_float_db < _MOVED_DB)
    first = next(far, None)
    if variant.quantize.method != "qat" or first is None or first.loses:
        return None
    text = (
        f"The fine-tuning has changed its weights beyond recognition ({first.from_float_db:g} dB from the float"
        " network): the learning rate is too high."
    )
    return Finding(first, Cause.LEARNING_RATE, text, ("quantize.learning_rate",), -math.inf)


def _finding(case: _Case) -> Finding | None:
    """Returns the likely cause of a layer's loss: that of the first rule which applies."""
    return next((finding for rule in _RULES if (finding := rule(case)) is not None), None)


def _batch_norm(case: _Case) -> Finding | None:
    sign, train, quantize = case.layer.signs.batch_norm, case.variant.train, case.variant.quantize
    steps = train.steps + (quantize.steps or 0 if quantize.method == "qat" and quantize.start == "float" else 0)
    if sign is None or case.variant.model.weights or steps >= _FEWEST_BATCH_NORM_STEPS:
        return None
    if sign.mean_shift < _SHIFT and sign.variance_ratio < _RATIO:
        return None
    text = (
        f"The moving averages of its batch norm have not settled after {steps} steps: the means are"
        f" {sign.mean_shift:.2g} standard deviations from those of the test examples, the variances differ by a factor"
        f" of {sign.variance_ratio:.2g}."
    )
    return case.finding(Cause.BATCH_NORM, text, "train.steps", db=-math.inf)


def _few_bits(case: _Case) -> Finding | None:
    bits = next((each.bits for each in case.overrides if each.bits is not None and each.bits < _BITS), None)
    if bits is None or not case.layer.loses:
        return None
    return case.finding(Cause.FEW_BITS, f"Its weights have only {bits} bits.", "quantize.overrides")


def _clipped(case: _Case) -> Finding | None:
    clipped = case.layer.signs.clipped_percent
    if not case.layer.loses or clipped is None or clipped < _CLIPPED_PERCENT:
        return None
    quantize = case.variant.quantize
    text = f"{clipped:.2g} % of its values ({_shown(case.layer.values)}) are beyond its range ({_range(case)})"
    if case.has_fixed_range:
        text, fields = f"{text}, which an override fixes.", "quantize.overrides"
        return case.finding(Cause.NARROW_OVERRIDE, text, fields)
    if quantize.method == "ptq" and quantize.calibration.range == "percentile":
        text = f"{text}: the percentile {quantize.calibration.percentile:g} cuts too much off."
        return case.finding(Cause.PERCENTILE, text, "quantize.calibration.percentile", "quantize.calibration.range")
    if quantize.method == "ptq" and (quantize.calibration.images or _FEWEST_IMAGES) < _FEWEST_IMAGES:
        count = quantize.calibration.images
        text = f"{text}, which was measured on only {count} example{'' if count == 1 else 's'}."
        return case.finding(Cause.FEW_IMAGES, text, "quantize.calibration.images")
    if quantize.method == "qat" and (quantize.steps or _FEWEST_STEPS) < _FEWEST_STEPS:
        text = f"{text}, which was learnt in only {quantize.steps} steps."
        return case.finding(Cause.FEW_STEPS, text, "quantize.steps")
    text = f"{text}: the training examples that gave the range are unlike the test examples."
    return case.finding(Cause.UNLIKE_TEST, text, "dataset", "quantize.overrides")


def _weight_channels(case: _Case) -> Finding | None:
    percent = case.layer.signs.weight_channel_percent
    if not case.layer.loses or percent is None or percent >= _FEW_PERCENT:
        return None
    text = (
        f"The weights of one channel dominate: those of the median channel use {percent:.2g} % of the range that all"
        " channels share."
    )
    return case.finding(Cause.WEIGHT_CHANNELS, text, "quantize.scheme")


def _mixed_ranges(case: _Case) -> Finding | None:
    layer = case.layer
    if not layer.loses or layer.signs.bulk_percent >= _FEW_PERCENT or case.has_fixed_range:
        return None
    sharing = (
        each
        for each in case.layers
        if each.signs.range == layer.signs.range
        and each.alone_db is not None
        and each.signs.bulk_percent > _FEW_PERCENT
    )
    other = next(sharing, None)
    if other is None:
        return None
    text = (
        f"It shares the range {_range(case)} with {other.name}, because both go into one tensor, and uses"
        f" {layer.signs.bulk_percent:.2g} % of it: give each an output of its own, or bring both to one scale."
    )
    return case.finding(Cause.MIXED_RANGES, text, "outputs", "quantize.overrides")


def _output_channels(case: _Case) -> Finding | None:
    percent, alone = case.layer.signs.channel_percent, case.layer.alone_db
    if alone is None or percent is None or not 0 < percent < _FEW_OF_CHANNEL_PERCENT:
        return None
    left = alone + 20 * math.log10(percent / 100)
    if left >= _LOST_DB:
        return None
    text = (
        f"One channel dominates its output ({_shown(case.layer.values)}): the median channel uses {percent:.2g} %"
        " of the range."
    )
    return case.finding(Cause.OUTPUT_CHANNELS, text, "quantize.overrides", db=left)


def _wide(case: _Case) -> Finding | None:
    layer = case.layer
    if not layer.loses or layer.signs.bulk_percent >= _FEW_PERCENT:
        return None
    text = f"Its range ({_range(case)}) is too wide for its values ({_shown(layer.values)})"
    if case.has_fixed_range:
        return case.finding(Cause.WIDE_OVERRIDE, f"{text}: an override fixes it.", "quantize.overrides")
    field = "quantize.calibration.range" if case.variant.quantize.method == "ptq" else "quantize.overrides"
    return case.finding(Cause.OUTLIERS, f"{text}: a few outliers among the training examples set it.", field)


def _rounding(case: _Case) -> Finding | None:
    if not case.layer.loses:
        return None
    text = "It loses by rounding alone, and no sign says why: 8 bits are too few for it."
    return case.finding(Cause.ROUNDING, text, "quantize.method", "quantize.overrides")


_RULES: tuple[Callable[[_Case], Finding | None], ...] = (
    _batch_norm,
    _few_bits,
    _clipped,
    _weight_channels,
    _mixed_ranges,
    _output_channels,
    _wide,
    _rounding,
)


def _range(case: _Case) -> str:
    return _shown(case.layer.signs.range)


def _shown(ends: Range) -> str:
    return f"{ends[0]:.3g} .. {ends[1]:.3g}"
