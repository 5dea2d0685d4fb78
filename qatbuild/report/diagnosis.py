"""Why the layers of a model lose accuracy: the likely cause of each in words, and the fields of the spec to change.

The evaluate stage measures how each layer's values and weights lie in their quantization grids (`LayerSigns`). A sign
says what happens; how the spec makes the ranges says why: values beyond the grid are an override's fault, a
percentile's, or that of too few images or steps. A layer is named if its signal to noise ratio by itself is low.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from qatbuild.exchange.layer_signs import Range
from qatbuild.report import layer_losses
from qatbuild.report.layer_losses import HALF_DB, LOST_DB, Layer, overrides_of
from qatbuild.schema.ends import IMAGES
from qatbuild.schema.model import Override, Variant

_MOVED_DB = 5.0
"""After a fine-tuning as it should be, layers are further than this above the float network's."""

_FEW_PERCENT = 12.5
"""Of the grid: 3 of the 8 bits are unused."""

_FEW_OF_CHANNEL_PERCENT = 5.0
_SHIFT = 0.25
_RATIO = 2.0
_FEWEST_BATCH_NORM_STEPS = 1000
_FEWEST_STEPS = 100
_FEWEST_IMAGES = 100
_BITS = 8


class Cause(StrEnum):
    """Why a layer loses accuracy."""

    BATCH_NORM = "batch_norm"
    FEW_BITS = "few_bits"
    FEW_IMAGES = "few_images"
    FEW_STEPS = "few_steps"
    INPUT_COLUMNS = "input_columns"
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


class Finding(NamedTuple):
    """A layer, the cause, a sentence about it, and the fields of the spec to change.

    `db` is the signal to noise ratio that the cause leaves to the layer's values; the lowest comes first.
    """

    layer: Layer
    cause: Cause
    text: str
    fields: tuple[str, ...]
    db: float

    def as_written_in(self, document: Mapping[str, Any]) -> Finding:
        """The finding with its fields as a spec has them, which may have the short form `input` of one input."""
        if "input" not in document:
            return self
        return self._replace(fields=tuple(each.replace(f"inputs.{IMAGES}.", "input.") for each in self.fields))

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

    @property
    def range_field(self) -> str:
        """The field of the spec that fixes the layer's range."""
        return f"inputs.{self.layer.name}.range" if self.layer.is_input else "quantize.overrides"

    def finding(self, cause: Cause, text: str, *fields: str, db: float | None = None) -> Finding:
        """A finding about the layer; the dB are the layer's own by default."""
        remaining_db = self.layer.alone_db if db is None else db
        return Finding(self.layer, cause, text, fields, math.inf if remaining_db is None else remaining_db)


def diagnose(report: Mapping[str, Any], variant: Variant) -> list[Finding]:
    """Returns the causes for which a model loses accuracy, worst first; none for one that only rounds.

    `report` is the model's report.json, `variant` its spec.
    """
    layers = list(layer_losses.layers(report))
    if moved := _moved_by_training(layers, variant):
        return [moved]
    cases = [_Case(layer, layers, overrides_of(layer, variant), variant) for layer in layers]
    findings = _without_consequences(finding for case in cases for finding in _about(case))
    return list(_one_a_layer(sorted(findings, key=lambda finding: finding.db)))


def _about(case: _Case) -> Iterator[Finding]:
    """Yields why a layer loses: because of the input that it reads, by itself, or both."""
    read, alone = _of_input(case), _of_layer(case)
    if read is not None:
        yield read
    if alone is not None and not (read is not None and alone.cause is Cause.ROUNDING):
        yield alone


def _without_consequences(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Leaves out ranges that are too wide only because an earlier layer's values are cut off."""
    is_clipped = False
    for finding in findings:
        if not (is_clipped and finding.cause is Cause.OUTLIERS):
            is_clipped |= finding.cause in _CLIPPING
            yield finding


def _one_a_layer(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Leaves all but the first finding about a layer out: its operators have its name and its range."""
    seen = set()
    for finding in findings:
        if finding.layer.name not in seen:
            seen.add(finding.layer.name)
            yield finding


def _moved_by_training(layers: Sequence[Layer], variant: Variant) -> Finding | None:
    """Returns the first layer that computes something else than before the fine-tuning, if rounding is not the cause.

    That of earlier layers is not, as long as none of them loses, and its own is not if that makes less than half of the
    difference.
    """
    for layer in layers if variant.quantize.method == "qat" else ():
        distance_db = layer.from_float_db
        if distance_db is not None and distance_db < _MOVED_DB and not layer.explains(distance_db):
            text = (
                f"The fine-tuning has changed its weights beyond recognition ({distance_db:g} dB from the float"
                " network): the learning rate is too high."
            )
            return Finding(layer, Cause.LEARNING_RATE, text, ("quantize.learning_rate",), -math.inf)
        if layer.loses:
            break
    return None


def _of_layer(case: _Case) -> Finding | None:
    """Returns the likely cause of a layer's loss: that of the first rule which applies."""
    if case.layer.signs.reads is not None and not case.layer.has_override_name:  # It only moves an input's values.
        return None
    return next((finding for rule in _RULES if (finding := rule(case)) is not None), None)


def _of_input(case: _Case) -> Finding | None:
    """Returns why real values lose already when they become integers, in front of a layer that loses."""
    sign = case.layer.signs.reads
    if sign is None or not case.layer.loses:
        return None
    scaling = case.variant.inputs.get(sign.name)
    if scaling is None or not scaling.real or scaling.range is not None:
        return None
    of_input = case._replace(layer=case.layer.of_input(sign), overrides=())
    if sign.channel_percent is not None and sign.channel_percent < _FEW_OF_CHANNEL_PERCENT:
        text = (
            f"One column dominates the input ({_shown(sign.values)}), and one scale is for all: the median column uses"
            f" {sign.channel_percent:.2g} % of the range. Divide each column by its deviation, in the dataset."
        )
        return of_input.finding(Cause.INPUT_COLUMNS, text, "dataset", db=case.layer.alone_db)
    return _clipped(of_input) or _wide(of_input)


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
    """Names what cuts values off, if that makes more than half of the layer's noise."""
    layer, signs = case.layer, case.layer.signs
    clipped, left_db = signs.clipped_percent, signs.clipped_db
    if clipped is None or left_db is None or layer.alone_db is None:
        return None
    if not layer.loses or left_db > layer.alone_db + HALF_DB:
        return None
    quantize = case.variant.quantize
    text = f"{clipped:.2g} % of its values ({_shown(case.layer.values)}) are beyond its range ({_range(case)})"
    if case.has_fixed_range:
        return case.finding(Cause.NARROW_OVERRIDE, f"{text}, which an override fixes.", "quantize.overrides")
    if quantize.method == "ptq" and quantize.calibration.range == "percentile":
        text = f"{text}: the percentile {quantize.calibration.percentile:g} cuts too much off."
        return case.finding(Cause.PERCENTILE, text, "quantize.calibration.percentile", "quantize.calibration.range")
    if quantize.method == "ptq" and (quantize.calibration.images or _FEWEST_IMAGES) < _FEWEST_IMAGES:
        text = f"{text}, which was measured on only {_counted(quantize.calibration.images, 'example')}."
        return case.finding(Cause.FEW_IMAGES, text, "quantize.calibration.images")
    if quantize.method == "qat" and (quantize.steps or _FEWEST_STEPS) < _FEWEST_STEPS:
        text = f"{text}, which was learnt in only {_counted(quantize.steps, 'step')}."
        return case.finding(Cause.FEW_STEPS, text, "quantize.steps")
    text = f"{text}: the training examples that gave the range are unlike the test examples."
    return case.finding(Cause.UNLIKE_TEST, text, "dataset", case.range_field)


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
    percent, alone_db = case.layer.signs.channel_percent, case.layer.alone_db
    if alone_db is None or percent is None or not 0 < percent < _FEW_OF_CHANNEL_PERCENT:
        return None
    left_db = alone_db + 20 * math.log10(percent / 100)
    if left_db >= LOST_DB:
        return None
    text = (
        f"One channel dominates its output ({_shown(case.layer.values)}): the median channel uses {percent:.2g} %"
        " of the range."
    )
    return case.finding(Cause.OUTPUT_CHANNELS, text, "quantize.overrides", db=left_db)


def _wide(case: _Case) -> Finding | None:
    layer = case.layer
    if not layer.loses or layer.signs.bulk_percent >= _FEW_PERCENT:
        return None
    text = f"Its range ({_range(case)}) is too wide for its values ({_shown(layer.values)})"
    if case.has_fixed_range:
        return case.finding(Cause.WIDE_OVERRIDE, f"{text}: an override fixes it.", "quantize.overrides")
    is_measured = case.variant.quantize.method == "ptq"
    fields = (["quantize.calibration.range"] if is_measured else []) + [case.range_field]
    return case.finding(Cause.OUTLIERS, f"{text}: a few outliers among the training examples set it.", *fields)


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


def _counted(number: int | None, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _range(case: _Case) -> str:
    return _shown(case.layer.signs.range)


def _shown(ends: Range) -> str:
    return f"{ends[0]:.3g} .. {ends[1]:.3g}"
