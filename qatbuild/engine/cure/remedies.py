"""What may help against the findings about a model: patches of its spec, by cause and in general.

Where the values in one tensor are of very different sizes, no range serves all of them. Then the weights have to come
to other scales: that takes a fine-tuning as long as the float training, and at its learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from qatbuild.engine.cure.patches import (
    Json,
    Patch,
    calibrated,
    from_calibration,
    overriding,
    per_channel,
    quantized,
)
from qatbuild.report.diagnosis import Cause, Finding
from qatbuild.report.layer_losses import Layer
from qatbuild.schema.load import merge_patch
from qatbuild.schema.model import Variant

Ends = list[float]

_PERCENTILES = (99.99, 99.9, 99.0)
_LOWER_PERCENTILES = (*_PERCENTILES, 95.0, 90.0)
"""A search goes on to the next one as long as that helps."""

_MARGIN = 1.05
"""A fixed range is a little wider than what was measured on a sample of the test examples."""

_CHANNELS_MARGIN = 4.0
"""Times the median channel's greatest value: what a dominating channel leaves of a range."""

_LONGER = (5, 20)
_FEWEST_STEPS = 100
_RATE_FACTORS = (0.1, 0.01)
_FROZEN = {"freeze_bn_delay": 0}
_UNCHANGED = Patch({}, "")


def proposals(findings: Sequence[Finding], layers: Sequence[Layer], document: Json, variant: Variant) -> list[Patch]:
    """Returns patches against what was found, those of the worst layer first, then what often helps.

    `layers` are those of the model, `document` and `variant` its spec. Not every patch makes a valid one. Where ranges
    are mixed, what often helps does not.
    """
    aims = (_Aim(each, findings, layers, document, variant) for each in findings)
    specific = (patch for aim in aims for patch in _FOR_CAUSE[aim.finding.cause](aim))
    has_batch_norms = any(layer.signs.batch_norm is not None for layer in layers)
    is_mixed = bool(findings) and findings[0].cause is Cause.MIXED_RANGES
    return [
        *specific,
        *_within_percentile(layers, document, variant),
        *(() if is_mixed else _general(variant, has_batch_norms=has_batch_norms)),
        *_in_float(findings[:1], document),
    ]


class _Aim(NamedTuple):
    """A finding among all, the layers of the model, and its spec."""

    finding: Finding
    findings: Sequence[Finding]
    layers: Sequence[Layer]
    document: Json
    variant: Variant

    @property
    def alike(self) -> list[Finding]:
        """The findings with the same cause."""
        return [each for each in self.findings if each.cause is self.finding.cause]

    @property
    def is_of_output(self) -> bool:
        """Whether the range of the layer is that of an output of the network, too."""
        ends = self.finding.layer.signs.range
        return any(each.signs.is_output and each.signs.range == ends for each in self.layers)


def _without_exception(aim: _Aim) -> Iterator[Patch]:
    layer = aim.finding.layer.name
    rest = [
        _without(each, ("range", "bits")) if fnmatchcase(layer, each["layer"]) else each
        for each in _overrides(aim.document)
    ]
    yield overriding([each for each in rest if len(each) > 1], f"{layer} without an override of its own")
    yield from _measured(aim)


def _measured(aim: _Aim) -> Iterator[Patch]:
    """Fixes the ranges of all layers and inputs with this cause to the values that they have in the float network."""
    ranges = {each.layer: _widened(each.layer) for each in aim.alike}
    if fixed := _fixed(aim.document, ranges):
        names = [layer.name for layer in ranges if layer.has_override_name or layer.is_input]
        yield Patch(fixed, f"the range of {', '.join(names)} as measured on test examples")


def _without_outliers(aim: _Aim) -> Iterator[Patch]:
    if aim.variant.quantize.method == "ptq":
        yield from _percentiles()
        yield calibrated({"range": "moving_average", "percentile": None}, "ranges averaged over batches of 32 examples")
    yield from _measured(aim)


def _whole_range(aim: _Aim) -> Iterator[Patch]:
    del aim
    yield calibrated({"range": "min_max", "percentile": None}, "ranges from the least to the greatest value")
    yield from _percentiles()


def _more_images(aim: _Aim) -> Iterator[Patch]:
    del aim
    yield calibrated({"images": None}, "ranges from 512 examples")


def _more_steps(aim: _Aim) -> Iterator[Patch]:
    steps = max(aim.variant.quantize.steps or 0, _FEWEST_STEPS)
    yield from_calibration()
    for times in (1, *_LONGER):
        yield quantized({"steps": steps * times}, f"ranges learnt in {steps * times} steps")


def _by_channel(aim: _Aim) -> Iterator[Patch]:
    del aim
    yield per_channel()


def _without_widest_channel(aim: _Aim) -> Iterator[Patch]:
    """Cuts the dominating channel off at what the others need, or lets the weights learn to do without it.

    Other layers have it from the first.
    """
    layer = aim.finding.layer
    fixed = _fixed(aim.document, {layer: _without_widest(layer)})
    if fixed and aim.finding is aim.alike[0]:
        yield Patch(fixed, f"the range of {layer.name} without its widest channel")
    yield from _learnt_anew(aim.document, aim.variant)


def _without_wide_column(aim: _Aim) -> Iterator[Patch]:
    """Cuts the dominating column off; only weights that have learnt to do without what it said can use the others."""
    layer = aim.finding.layer
    why = f"the range of {layer.name} without its widest column"
    yield from _learnt_anew(
        aim.document, aim.variant, Patch(_fixed(aim.document, {layer: _without_widest(layer)}), why)
    )


def _with_other_scales(aim: _Aim) -> Iterator[Patch]:
    """Lets the weights bring the layers to one scale, or do without the wide one.

    Those of an output cannot: its targets are what they are.
    """
    if aim.is_of_output:
        return
    narrow = [each.layer for each in aim.alike if each.layer.signs.range == aim.finding.layer.signs.range]
    ends = [_widened(layer) for layer in narrow]
    common = [min(least for least, _ in ends), max(greatest for _, greatest in ends)]
    fixed = Patch(
        _fixed(aim.document, dict.fromkeys(narrow, common)),
        f"the range of {aim.finding.layer.name} for all that share it",
    )
    yield from _learnt_anew(aim.document, aim.variant, fixed)
    yield from _learnt_anew(aim.document, aim.variant)


def _learnt_anew(document: Json, variant: Variant, base: Patch = _UNCHANGED) -> Iterator[Patch]:
    """Yields `base`, unless it is to fix ranges that the spec cannot, with fine-tunings that bring other scales."""
    train, quantize = variant.train, document.get("quantize", {})
    if not train.steps or variant.quantize.start != "float" or (base.why and not base.fields):
        return
    rate = {**dict.fromkeys(quantize.get("learning_rate") or {}), **document["train"]["learning_rate"]}
    for steps in (train.steps, train.steps * _LONGER[0]):
        learning = quantized(
            {"method": "qat", "steps": steps, "learning_rate": rate},
            f"a fine-tuning of {steps} steps at the learning rate of the float training",
        )
        yield Patch(merge_patch(base.fields, learning.fields, keep_null=True), learning.why_after(base))


def _with_other_weights(aim: _Aim) -> Iterator[Patch]:
    yield from _learnt_anew(aim.document, aim.variant)


def _settled(aim: _Aim) -> Iterator[Patch]:
    yield from _longer_float_training(aim.variant)


def _lower_rates(aim: _Aim) -> Iterator[Patch]:
    yield from_calibration()
    rate = aim.variant.quantize.learning_rate
    if rate is not None and not rate.values:
        for factor in _RATE_FACTORS:
            initial = _rounded(rate.initial * factor)
            yield quantized(
                {"learning_rate": {"initial": initial}}, f"a fine-tuning with the learning rate {initial:g}"
            )


_FOR_CAUSE: Mapping[Cause, Callable[[_Aim], Iterable[Patch]]] = {
    Cause.BATCH_NORM: _settled,
    Cause.FEW_BITS: _without_exception,
    Cause.FEW_IMAGES: _more_images,
    Cause.FEW_STEPS: _more_steps,
    Cause.INPUT_COLUMNS: _without_wide_column,
    Cause.LEARNING_RATE: _lower_rates,
    Cause.MIXED_RANGES: _with_other_scales,
    Cause.NARROW_OVERRIDE: _without_exception,
    Cause.OUTLIERS: _without_outliers,
    Cause.OUTPUT_CHANNELS: _without_widest_channel,
    Cause.PERCENTILE: _whole_range,
    Cause.ROUNDING: _with_other_weights,
    Cause.UNLIKE_TEST: _measured,
    Cause.WEIGHT_CHANNELS: _by_channel,
    Cause.WIDE_OVERRIDE: _without_exception,
}


def _within_percentile(layers: Sequence[Layer], document: Json, variant: Variant) -> Iterator[Patch]:
    """Yields what goes on from ranges that a percentile cuts: a lower one, and weights that adapt to them."""
    calibration = variant.quantize.calibration
    if variant.quantize.method != "ptq" or calibration.range != "percentile":
        return
    current = calibration.percentile or _PERCENTILES[0]
    if lower := [each for each in _LOWER_PERCENTILES if each < current]:
        yield _percentile(lower[0])
    inputs = [layer.of_input(layer.signs.reads) for layer in layers if layer.signs.reads is not None]
    ranges = {each: [*map(_rounded, each.signs.range)] for each in (*inputs, *layers)}
    fixed = Patch(_fixed(document, ranges), f"the ranges of the percentile {current:g}")
    yield from _learnt_anew(document, variant, fixed)


def _general(variant: Variant, *, has_batch_norms: bool) -> Iterator[Patch]:
    """Yields what often helps, whatever the cause."""
    quantize = variant.quantize
    if quantize.scheme != "int8_per_channel":
        yield per_channel()
    if quantize.method == "ptq":
        if quantize.calibration.range == "min_max":
            yield _percentile(_PERCENTILES[0])
        if variant.train.steps:
            yield quantized({"method": "qat"}, "a fine-tuning, in which the weights adapt to the ranges")
            if has_batch_norms:
                yield quantized({"method": "qat", **_FROZEN}, "a fine-tuning with frozen batch norms")
    elif quantize.start == "float" and quantize.steps:
        if has_batch_norms and quantize.freeze_bn_delay is None:
            yield quantized(_FROZEN, "a fine-tuning with frozen batch norms")
        steps = quantize.steps * _LONGER[0]
        yield quantized({"steps": steps}, f"a fine-tuning of {steps} steps")
    yield from _longer_float_training(variant)


def _in_float(findings: Iterable[Finding], document: Json) -> Iterator[Patch]:
    for name in (each.layer.name for each in findings if each.layer.has_override_name):
        overrides = [*_overrides(document), {"layer": name, "float": True}]
        yield overriding(overrides, f"{name} in float")


def _longer_float_training(variant: Variant) -> Iterator[Patch]:
    for times in _LONGER if variant.train.steps else ():
        steps = variant.train.steps * times
        yield Patch({"train": {"steps": steps}}, f"a float training of {steps} steps")


def _percentiles() -> Iterator[Patch]:
    yield from map(_percentile, _PERCENTILES)


def _percentile(percentile: float) -> Patch:
    why = f"ranges without the {100 - percentile:.2g} % of the greatest values"
    return calibrated({"range": "percentile", "percentile": percentile}, why)


def _overrides(document: Json) -> list[Json]:
    return list(document.get("quantize", {}).get("overrides", ()))


def _without(override: Json, names: Sequence[str]) -> Json:
    return {name: value for name, value in override.items() if name not in names}


def _fixed(document: Json, ranges: Mapping[Layer, Ends]) -> dict[str, Any]:
    """Returns the fields that fix the ranges of layers and inputs; {} if the spec can name none of them."""
    layers = {layer.name: ends for layer, ends in ranges.items() if layer.has_override_name}
    inputs = {layer.name: {"range": ends} for layer, ends in ranges.items() if layer.is_input}
    fields: dict[str, Any] = {}
    if layers:
        rest = [each for each in _overrides(document) if not any(fnmatchcase(name, each["layer"]) for name in layers)]
        overrides = [*rest, *({"layer": name, "range": ends} for name, ends in layers.items())]
        fields["quantize"] = {"overrides": [dict(each) for each in overrides]}
    if inputs:
        is_short = "input" in document
        fields |= {"input": next(iter(inputs.values()))} if is_short else {"inputs": inputs}
    return fields


def _widened(layer: Layer) -> Ends:
    least, greatest = layer.signs.float_values or layer.values
    return [_rounded(min(least * _MARGIN, 0.0)), _rounded(max(greatest * _MARGIN, 0.0))]


def _without_widest(layer: Layer) -> Ends:
    """Returns the range that all but a dominating channel need."""
    percent = layer.signs.channel_percent or 0.0
    widest = max(map(abs, layer.values)) * min(1.0, _CHANNELS_MARGIN * percent / 100)
    ends = [_rounded(max(layer.values[0], -widest)), _rounded(min(layer.values[1], widest))]
    return [min(ends[0], 0.0), max(ends[1], 0.0)]


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
