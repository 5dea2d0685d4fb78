"""Patches against what a diagnosis found: each is one of the spec as it is written, and makes a valid one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.cure.patches import Patch, proposals
from qatbuild.exchange.layer_signs import InputSign, LayerSigns
from qatbuild.report.diagnosis import diagnose
from qatbuild.schema.load import patched_variant
from qatbuild.schema.model import Variant
from qatbuild.schema.rules import AllowedPaths
from qatbuild.schema.typed import typed
from tests.unit.test_diagnosis import WIDE, row

SPEC = Path("/project/specs/net.json")
PTQ, QAT = {"method": "ptq"}, {"scheme": "int8", "steps": 200}
ROUNDING = LayerSigns((0, 1), 90)
FROZEN = {"freeze_bn_delay": 0}


def document(quantize: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "digits"},
        "input": {"mean": 0, "std_dev": 1},
        "model": {"name": "digitsnet"},
        "train": {"steps": 5000, "learning_rate": {"initial": 0.1}},
        "quantize": quantize,
        **fields,
    }


def patches(spec: dict[str, Any], *rows: dict[str, Any], has_batch_norms: bool = False) -> list[Patch]:
    variant = typed("net", SPEC, spec)
    return proposals(diagnose({"layers": list(rows)}, variant), spec, variant, has_batch_norms=has_batch_norms)


def with_patch(spec: dict[str, Any], patch: Patch) -> Variant:
    """The variant of a patched spec; SpecError if that is not valid."""
    return patched_variant("net", SPEC, spec, patch.fields, AllowedPaths(SPEC.parents[1]))


@pytest.mark.parametrize(("quantize", "frozen"), [(PTQ, {"method": "qat", **FROZEN}), (QAT, FROZEN)])
def test_batch_norms_are_frozen_only_where_a_network_has_some(quantize: dict[str, Any], frozen: dict[str, Any]) -> None:
    spec, layer = document(quantize), row("conv1", ROUNDING)
    assert {"quantize": frozen} in [each.fields for each in patches(spec, layer, has_batch_norms=True)]
    assert "freeze_bn_delay" not in str(patches(spec, layer))


def test_batch_norms_that_the_spec_freezes_already_are_left_alone() -> None:
    spec = document({**QAT, "freeze_bn_delay": 50})
    assert "freeze_bn_delay" not in str(patches(spec, row("conv1", ROUNDING), has_batch_norms=True))


def test_outliers_are_averaged_away_before_a_range_is_fixed() -> None:
    spec = document({**PTQ, "calibration": {"range": "percentile", "percentile": 99.99}})
    proposed = patches(document(PTQ), row("conv1", WIDE))
    averaged = next(each for each in proposed if "moving_average" in str(each.fields))
    fixed = next(each for each in proposed if "overrides" in str(each.fields))
    assert proposed.index(averaged) < proposed.index(fixed)
    assert with_patch(spec, averaged).quantize.calibration.range == "moving_average"
    assert "moving_average" not in str(patches(document(QAT), row("conv1", WIDE)))


@pytest.mark.parametrize(
    "inputs", [{"input": {"real": True}}, {"inputs": {"images": {"real": True}}}], ids=["short", "named"]
)
def test_the_range_of_an_input_is_fixed_where_the_spec_has_it(inputs: dict[str, Any]) -> None:
    spec = document(PTQ, **inputs)
    if "inputs" in inputs:
        del spec["input"]
    read = InputSign("images", 10.0, (0, 100), 2.0, (-0.5, 1.0))
    layer = row("conv1", ROUNDING._replace(reads=read))
    patch = next(each for each in patches(spec, layer) if "input" in "".join(each.fields))
    measured = {"range": [-0.525, 1.05]}  # 5 % wider than the values.
    assert patch.fields == {"input": measured} if "input" in inputs else {"inputs": {"images": measured}}
    assert with_patch(spec, patch).inputs["images"].range == (-0.525, 1.05)


def test_a_layer_with_mixed_ranges_gets_one_of_its_own_or_stays_float() -> None:
    small = row("value", WIDE._replace(float_values=(-1, 2)))
    total = row("total", WIDE._replace(bulk_percent=90), alone=45.0, position=1)
    spec = document({**PTQ, "overrides": [{"layer": "total", "bits": 8}]})
    kept = {"layer": "total", "bits": 8}
    assert [each.fields["quantize"]["overrides"] for each in patches(spec, small, total)] == [
        [kept, {"layer": "value", "range": [-1.05, 2.1]}],
        [kept, {"layer": "value", "float": True}],
    ]


def test_no_override_is_proposed_for_what_an_override_cannot_name() -> None:
    joined = row("joined", WIDE)
    joined["signs"]["override_name"] = None
    assert "overrides" not in str([each.fields for each in patches(document(PTQ), joined)])
    loud = row("joined", LayerSigns((0, 100), 100, values=(0, 100), channel_percent=1), alone=45.0)
    loud["signs"]["override_name"] = None
    assert "overrides" not in str([each.fields for each in patches(document(PTQ), loud)])


@pytest.mark.parametrize("quantize", [PTQ, QAT], ids=["ptq", "qat"])
def test_every_patch_about_a_fused_activation_names_its_layer_and_is_valid(quantize: dict[str, Any]) -> None:
    spec, layer = document(quantize), row("stem", WIDE)
    assert layer["name"] == "stem_relu"
    overridden = [with_patch(spec, each).quantize.overrides for each in patches(spec, layer, has_batch_norms=True)]
    assert {each.layer for overrides in overridden for each in overrides} == {"stem"}
