"""Merge patches of a spec that may help against the findings about a model.

Every list in a merge patch is whole: a patch of quantize.overrides repeats those that stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from qatbuild.report.diagnosis import Cause, Finding
from qatbuild.schema.model import Variant

Json = Mapping[str, Any]

_PERCENTILES = (99.99, 99.9, 99.0)
_MARGIN = 1.05
"""A fixed range is a little wider than what was measured on a sample of the test examples."""

_CHANNELS_MARGIN = 4.0
"""Times the median channel's greatest value: what a dominating channel leaves of a range."""

_LONGER = (5, 20)
_FEWEST_STEPS = 100
_GENTLER = (0.1, 0.01)
_FROZEN = {"freeze_bn_delay": 0}


class Cost(IntEnum):
    """What a patch costs, beside a conversion and an evaluation."""

    CALIBRATION = 1
    SHORT_TRAINING = 2
    LONG_TRAINING = 3
    FLOAT_LAYER = 4
    """A layer in float is tried last: the model is not fully integer any more."""

    @property
    def words(self) -> str:
        """The cost in words."""
        return self.name.lower().replace("_", " ")


class Patch(NamedTuple):
    """A merge patch, and in words what it does."""

    fields: dict[str, Any]
    why: str


def cost(former: Variant, patched: Variant) -> tuple[Cost, int]:
    """Returns the cost of a patch and its training steps, for an order; the variants are without and with it."""
    kept = {each.layer for each in former.quantize.overrides if each.float}
    steps = patched.quantize.steps or 0 if patched.quantize.method == "qat" else 0
    if any(each.float and each.layer not in kept for each in patched.quantize.overrides):
        return Cost.FLOAT_LAYER, steps
    if (former.train, former.dataset, former.model) != (patched.train, patched.dataset, patched.model):
        return Cost.LONG_TRAINING, patched.train.steps + steps
    if patched.quantize.method == "ptq":
        return Cost.CALIBRATION, 0
    return Cost.LONG_TRAINING if patched.quantize.start == "scratch" else Cost.SHORT_TRAINING, steps


def proposals(
    findings: Sequence[Finding], document: Json, variant: Variant, *, has_batch_norms: bool = False
) -> list[Patch]:
    """Returns patches against what was found, those of the worst layer first, then what often helps.

    `document` and `variant` are the spec's. Not every patch makes a valid spec. Where ranges are mixed, nothing helps
    but a range of its own for the layer, the layer in float, or another network.
    """
    specific = (patch for each in findings for patch in _FOR_CAUSE[each.cause](_Aim(each, findings, document, variant)))
    is_mixed = bool(findings) and findings[0].cause is Cause.MIXED_RANGES
    return [
        *specific,
        *(() if is_mixed else _general(variant, has_batch_norms=has_batch_norms)),
        *_in_float(findings[:1], document),
    ]


class _Aim(NamedTuple):
    """A finding among all, and the spec that it is about."""

    finding: Finding
    findings: Sequence[Finding]
    document: Json
    variant: Variant

    @property
    def alike(self) -> list[Finding]:
        """The findings with the same cause."""
        return [each for each in self.findings if each.cause is self.finding.cause]


def _without_exception(aim: _Aim) -> Iterator[Patch]:
    layer = aim.finding.layer.name
    rest = [
        _without(each, ("range", "bits")) if fnmatchcase(layer, each["layer"]) else each for each in _overrides(aim)
    ]
    yield _overriding([each for each in rest if len(each) > 1], f"{layer} without an override of its own")
    yield from _measured(aim)


def _measured(aim: _Aim) -> Iterator[Patch]:
    """Fixes the ranges of all layers and inputs with this cause to the values that they have in the float network."""
    layers = {each.layer.name: _widened(each) for each in aim.alike if each.layer.has_override_name}
    inputs = {each.layer.name: {"range": _widened(each)} for each in aim.alike if each.layer.is_input}
    if not layers and not inputs:
        return
    fields: dict[str, Any] = {}
    if layers:
        rest = [each for each in _overrides(aim) if not any(fnmatchcase(name, each["layer"]) for name in layers)]
        fixed = [{"layer": name, "range": ends} for name, ends in layers.items()]
        fields["quantize"] = {"overrides": [*rest, *fixed]}
    if inputs:
        is_short = "input" in aim.document
        fields |= {"input": next(iter(inputs.values()))} if is_short else {"inputs": inputs}
    yield Patch(fields, f"the range of {', '.join([*layers, *inputs])} as measured on test examples")


def _without_outliers(aim: _Aim) -> Iterator[Patch]:
    if aim.variant.quantize.method == "ptq":
        yield from _percentiles()
        yield _calibration(
            {"range": "moving_average", "percentile": None}, "ranges averaged over batches of 32 examples"
        )
    yield from _measured(aim)


def _whole_range(aim: _Aim) -> Iterator[Patch]:
    del aim
    yield _calibration({"range": "min_max", "percentile": None}, "ranges from the least to the greatest value")
    yield from _percentiles()


def _more_images(aim: _Aim) -> Iterator[Patch]:
    del aim
    yield _calibration({"images": None}, "ranges from 512 examples")


def _more_steps(aim: _Aim) -> Iterator[Patch]:
    steps = max(aim.variant.quantize.steps or 0, _FEWEST_STEPS)
    yield _ptq()
    for times in (1, *_LONGER):
        yield _quantize({"steps": steps * times}, f"ranges learnt in {steps * times} steps")


def _by_channel(aim: _Aim) -> Iterator[Patch]:
    del aim
    yield _per_channel()


def _without_loud_channel(aim: _Aim) -> Iterator[Patch]:
    """Cuts the dominating channel off at what the others need."""
    layer = aim.finding.layer
    if not layer.has_override_name:
        return
    percent = layer.signs.channel_percent or 0.0
    widest = max(map(abs, layer.values)) * min(1.0, _CHANNELS_MARGIN * percent / 100)
    ends = [_rounded(max(layer.values[0], -widest)), _rounded(min(layer.values[1], widest))]
    fixed = {"layer": layer.name, "range": [min(ends[0], 0.0), max(ends[1], 0.0)]}
    rest = [each for each in _overrides(aim) if not fnmatchcase(layer.name, each["layer"])]
    yield _overriding([*rest, fixed], f"the range of {layer.name} without its widest channel")


def _settled(aim: _Aim) -> Iterator[Patch]:
    yield from _longer_float_training(aim.variant)


def _gentler(aim: _Aim) -> Iterator[Patch]:
    yield _ptq()
    rate = aim.variant.quantize.learning_rate
    if rate is not None and not rate.values:
        for factor in _GENTLER:
            initial = _rounded(rate.initial * factor)
            yield _quantize(
                {"learning_rate": {"initial": initial}}, f"a fine-tuning with the learning rate {initial:g}"
            )


def _nothing(aim: _Aim) -> Iterator[Patch]:
    """What helps is a change of the data or the network."""
    del aim
    yield from ()


_FOR_CAUSE: Mapping[Cause, Callable[[_Aim], Iterable[Patch]]] = {
    Cause.BATCH_NORM: _settled,
    Cause.FEW_BITS: _without_exception,
    Cause.FEW_IMAGES: _more_images,
    Cause.FEW_STEPS: _more_steps,
    Cause.INPUT_COLUMNS: _nothing,
    Cause.LEARNING_RATE: _gentler,
    Cause.MIXED_RANGES: _measured,
    Cause.NARROW_OVERRIDE: _without_exception,
    Cause.OUTLIERS: _without_outliers,
    Cause.OUTPUT_CHANNELS: _without_loud_channel,
    Cause.PERCENTILE: _whole_range,
    Cause.ROUNDING: _nothing,
    Cause.UNLIKE_TEST: _measured,
    Cause.WEIGHT_CHANNELS: _by_channel,
    Cause.WIDE_OVERRIDE: _without_exception,
}


def _general(variant: Variant, *, has_batch_norms: bool) -> Iterator[Patch]:
    """Yields what often helps, whatever the cause."""
    quantize = variant.quantize
    if quantize.scheme != "int8_per_channel":
        yield _per_channel()
    if quantize.method == "ptq":
        if quantize.calibration.range == "min_max":
            yield _calibration({"range": "percentile", "percentile": _PERCENTILES[0]}, _cut(_PERCENTILES[0]))
        if variant.train.steps:
            yield _quantize({"method": "qat"}, "a fine-tuning, in which the network gets used to its ranges")
            if has_batch_norms:
                yield _quantize({"method": "qat", **_FROZEN}, "a fine-tuning with frozen batch norms")
    elif quantize.start == "float" and quantize.steps:
        if has_batch_norms and quantize.freeze_bn_delay is None:
            yield _quantize(_FROZEN, "a fine-tuning with frozen batch norms")
        steps = quantize.steps * _LONGER[0]
        yield _quantize({"steps": steps}, f"a fine-tuning of {steps} steps")
    yield from _longer_float_training(variant)


def _in_float(findings: Iterable[Finding], document: Json) -> Iterator[Patch]:
    for name in (each.layer.name for each in findings if each.layer.has_override_name):
        overrides = [*document.get("quantize", {}).get("overrides", ()), {"layer": name, "float": True}]
        yield _overriding(overrides, f"{name} in float")


def _longer_float_training(variant: Variant) -> Iterator[Patch]:
    for times in _LONGER if variant.train.steps else ():
        steps = variant.train.steps * times
        yield Patch({"train": {"steps": steps}}, f"a float training of {steps} steps")


def _percentiles() -> Iterator[Patch]:
    for percentile in _PERCENTILES:
        yield _calibration({"range": "percentile", "percentile": percentile}, _cut(percentile))


def _cut(percentile: float) -> str:
    return f"ranges without the {100 - percentile:.2g} % of the greatest values"


def _ptq() -> Patch:
    return _quantize({"method": "ptq"}, "ranges measured on training examples instead of a fine-tuning")


def _per_channel() -> Patch:
    return _quantize({"scheme": "int8_per_channel"}, "a scale for each channel of the weights")


def _calibration(fields: Json, why: str) -> Patch:
    return _quantize({"calibration": dict(fields)}, why)


def _overriding(overrides: Sequence[Json], why: str) -> Patch:
    return _quantize({"overrides": [dict(each) for each in overrides] or None}, why)


def _quantize(fields: Json, why: str) -> Patch:
    return Patch({"quantize": dict(fields)}, why)


def _overrides(aim: _Aim) -> list[Json]:
    return list(aim.document.get("quantize", {}).get("overrides", ()))


def _without(override: Json, names: Sequence[str]) -> Json:
    return {name: value for name, value in override.items() if name not in names}


def _widened(finding: Finding) -> list[float]:
    least, greatest = finding.layer.signs.float_values or finding.layer.values
    return [_rounded(min(least * _MARGIN, 0.0)), _rounded(max(greatest * _MARGIN, 0.0))]


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
