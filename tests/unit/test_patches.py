"""Patches against what a diagnosis found: each is one of the spec as it is written, and makes a valid one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.cure.patches import Patch
from qatbuild.engine.cure.remedies import proposals
from qatbuild.exchange.layer_signs import BatchNormSign, InputSign, LayerSigns
from qatbuild.report.diagnosis import diagnose
from qatbuild.report.layer_losses import layers
from qatbuild.schema.load import patched_variant
from qatbuild.schema.model import Variant
from qatbuild.schema.rules import AllowedPaths
from qatbuild.schema.typed import typed
from tests.unit.test_diagnosis import WIDE, row

SPEC = Path("/project/specs/net.json")
PTQ, QAT = {"method": "ptq"}, {"scheme": "int8", "steps": 200}
ROUNDING = LayerSigns((0, 1), 90)
NORMED = ROUNDING._replace(batch_norm=BatchNormSign(0.0, 1.0))
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


def patches(spec: dict[str, Any], *rows: dict[str, Any]) -> list[Patch]:
    variant, report = typed("net", SPEC, spec), {"layers": list(rows)}
    return proposals(diagnose(report, variant), list(layers(report)), spec, variant)


def with_patch(spec: dict[str, Any], patch: Patch) -> Variant:
    """The variant of a patched spec; SpecError if that is not valid."""
    return patched_variant("net", SPEC, spec, patch.fields, AllowedPaths(SPEC.parents[1]))


@pytest.mark.parametrize(("quantize", "frozen"), [(PTQ, {"method": "qat", **FROZEN}), (QAT, FROZEN)])
def test_batch_norms_are_frozen_only_where_a_network_has_some(quantize: dict[str, Any], frozen: dict[str, Any]) -> None:
    spec = document(quantize)
    assert {"quantize": frozen} in [each.fields for each in patches(spec, row("conv1", NORMED))]
    assert "freeze_bn_delay" not in str(patches(spec, row("conv1", ROUNDING)))


def test_batch_norms_that_the_spec_freezes_already_are_left_alone() -> None:
    spec = document({**QAT, "freeze_bn_delay": 50})
    assert "freeze_bn_delay" not in str(patches(spec, row("conv1", NORMED)))


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


def mixed(**of_total: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two layers with one range, of which the first uses a fiftieth."""
    small = row("value", WIDE._replace(float_values=(-1, 2)))
    return small, row("total", WIDE._replace(bulk_percent=90, **of_total), alone=45.0, position=1)


def test_layers_that_share_a_tensor_learn_one_scale_with_the_range_of_the_narrow_one_and_without() -> None:
    kept = {"layer": "total", "bits": 8}
    spec = document({**PTQ, "overrides": [kept]})
    *learnt, in_float = (each.fields["quantize"] for each in patches(spec, *mixed()))
    assert [(each["method"], each["steps"], each["learning_rate"]) for each in learnt] == [
        ("qat", steps, {"initial": 0.1}) for steps in (5000, 25000, 5000, 25000)
    ]
    narrow = [kept, {"layer": "value", "range": [-1.05, 2.1]}]
    assert [each.get("overrides") for each in learnt] == [narrow, narrow, None, None]
    assert in_float == {"overrides": [kept, {"layer": "value", "float": True}]}


def test_no_weights_bring_the_targets_of_an_output_to_one_scale() -> None:
    (only,) = patches(document(PTQ), *mixed(is_output=True))
    assert only.fields == {"quantize": {"overrides": [{"layer": "value", "float": True}]}}


def test_the_range_of_a_dominating_column_is_cut_only_where_the_weights_learn_to_do_without_it() -> None:
    spec = document(PTQ, input={"real": True})
    read = InputSign("images", 29.0, (0, 1000), 90.0, (0.0, 1000.0), channel_percent=0.5)
    proposed = patches(spec, row("fc1", ROUNDING._replace(reads=read)))
    narrowed = [each for each in proposed if "input" in each.fields]
    assert [each.fields["input"] for each in narrowed] == [{"range": [0.0, 20.0]}] * 2  # 4 times the median column's.
    assert [each.fields["quantize"]["steps"] for each in narrowed] == [5000, 25000]
    assert with_patch(spec, narrowed[0]).quantize.method == "qat"


def test_what_is_learnt_anew_has_the_learning_rate_of_the_float_training_alone() -> None:
    spec = document({**QAT, "learning_rate": {"initial": 0.01, "schedule": "cosine", "final": 0.001}})
    learnt = next(each for each in patches(spec, row("conv1", ROUNDING)) if "learning_rate" in str(each.fields))
    assert with_patch(spec, learnt).quantize.learning_rate == typed("net", SPEC, spec).train.learning_rate


def test_of_layers_with_one_wide_channel_only_the_first_is_cut() -> None:
    loud = LayerSigns((0, 100), 100, values=(0, 100), channel_percent=1)
    rows = [row(name, loud, alone=alone, position=int(alone)) for name, alone in (("sum", 46.0), ("conv1", 45.0))]
    overrides = [each.fields.get("quantize", {}).get("overrides") for each in patches(document(PTQ), *rows)]
    assert [each for each in overrides if each and "range" in each[0]] == [[{"layer": "conv1", "range": [0.0, 4.0]}]]


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
    overridden = [with_patch(spec, each).quantize.overrides for each in patches(spec, layer)]
    assert {each.layer for overrides in overridden for each in overrides} == {"stem"}
