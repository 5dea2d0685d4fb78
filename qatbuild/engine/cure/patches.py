"""Merge patches of a spec, what they cost, and how they are written.

Every list in a merge patch is whole: a patch of quantize.overrides repeats those that stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from qatbuild.schema.model import Variant

Json = Mapping[str, Any]


class Cost(IntEnum):
    """What a patch costs, beside a conversion and an evaluation."""

    CALIBRATION = 1
    SHORT_TRAINING = 2
    LONG_TRAINING = 3
    """At least as long as the float training, or that itself."""

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

    def why_after(self, base: Patch) -> str:
        """What another patch and this one do, in words."""
        return ", and ".join(filter(None, (base.why, self.why)))


class Price(NamedTuple):
    """The cost of a patch, and the steps of a float training and of a fine-tuning that it takes."""

    cost: Cost
    float_steps: int = 0
    steps: int = 0


def price(base: Variant, patched: Variant) -> Price:
    """Returns the price of the patch that makes the variant `patched` of `base`."""
    kept = {each.layer for each in base.quantize.overrides if each.float}
    steps = patched.quantize.steps or 0 if patched.quantize.method == "qat" else 0
    if any(each.float and each.layer not in kept for each in patched.quantize.overrides):
        return Price(Cost.FLOAT_LAYER, 0, steps)
    if (base.train, base.dataset, base.model) != (patched.train, patched.dataset, patched.model):
        return Price(Cost.LONG_TRAINING, patched.train.steps, steps)
    if patched.quantize.method == "ptq":
        return Price(Cost.CALIBRATION)
    is_short = patched.quantize.start == "float" and steps < (patched.train.steps or steps + 1)
    return Price(Cost.SHORT_TRAINING if is_short else Cost.LONG_TRAINING, 0, steps)


def from_calibration() -> Patch:
    """Returns the patch to measured ranges."""
    return quantized({"method": "ptq"}, "ranges measured on training examples instead of a fine-tuning")


def per_channel() -> Patch:
    """Returns the patch to a scale for each channel of the weights."""
    return quantized({"scheme": "int8_per_channel"}, "a scale for each channel of the weights")


def calibrated(fields: Json, why: str) -> Patch:
    """Returns a patch of quantize.calibration."""
    return quantized({"calibration": dict(fields)}, why)


def overriding(overrides: Sequence[Json], why: str) -> Patch:
    """Returns the patch to these overrides and no others."""
    return quantized({"overrides": [dict(each) for each in overrides] or None}, why)


def quantized(fields: Json, why: str) -> Patch:
    """Returns a patch of quantize."""
    return Patch({"quantize": dict(fields)}, why)
