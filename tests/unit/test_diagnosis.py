"""What the signs of a layer and the spec together say about the cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.cure.patches import Cost, price
from qatbuild.engine.cure.remedies import proposals
from qatbuild.exchange.facts import plain
from qatbuild.exchange.layer_signs import BatchNormSign, InputSign, LayerSigns
from qatbuild.report.diagnosis import Cause, diagnose
from qatbuild.schema.model import Input, Variant
from qatbuild.schema.typed import typed

CLIPPED = LayerSigns((0, 1), 100, values=(0, 9), float_values=(0, 20), clipped_percent=30, clipped_db=10)
WIDE = LayerSigns((0, 100), 2, values=(0, 1))


def variant(train: dict[str, Any] | None = None, **quantize: Any) -> Variant:
    fields = {
        "input": {"mean": 0, "std_dev": 1},
        "model": {"name": "digitsnet"},
        "train": {"steps": 5000, "learning_rate": {"initial": 0.1}, **(train or {})},
        "quantize": quantize,
    }
    return typed("net", Path("/project/specs/net.json"), fields)


def row(name: str, signs: LayerSigns, alone: float | None = 10.0, **fields: Any) -> dict[str, Any]:
    noise = {"float": alone, "fake_quant": 50.0, "alone": alone}
    signs = signs._replace(override_name=name)
    return {
        "name": f"{name}_relu",
        "operator": "CONV_2D",
        "position": 0,
        "sqnr_db": noise,
        "signs": plain(signs),
        **fields,
    }


def causes(spec: Variant, *rows: dict[str, Any]) -> list[tuple[str, Cause]]:
    return [(each.layer.name, each.cause) for each in diagnose({"layers": list(rows)}, spec)]


@pytest.mark.parametrize(
    ("signs", "quantize", "cause"),
    [
        (CLIPPED, {"method": "ptq"}, "unlike_test"),
        (CLIPPED, {"method": "ptq", "calibration": {"images": 8}}, "few_images"),
        (CLIPPED, {"method": "ptq", "calibration": {"range": "percentile"}}, "percentile"),
        (CLIPPED, {"steps": 20}, "few_steps"),
        (CLIPPED, {"steps": 500}, "unlike_test"),
        (CLIPPED, {"overrides": [{"layer": "conv*", "range": [0, 1]}]}, "narrow_override"),
        (CLIPPED, {"overrides": [{"layer": "fc*", "range": [0, 1]}]}, "unlike_test"),
        (WIDE, {"method": "ptq"}, "outliers"),
        (WIDE, {"overrides": [{"layer": "conv1", "range": [0, 100]}]}, "wide_override"),
        (LayerSigns((0, 1), 90), {"scheme": "int8", "overrides": [{"layer": "conv1", "bits": 3}]}, "few_bits"),
        (LayerSigns((0, 1), 90, weight_channel_percent=2), {}, "weight_channels"),
        (LayerSigns((0, 1), 90, weight_channel_percent=80), {}, "rounding"),
    ],
)
def test_the_way_that_the_spec_makes_ranges_tells_the_cause(
    signs: LayerSigns, quantize: dict[str, Any], cause: str
) -> None:
    assert causes(variant(**quantize), row("conv1", signs)) == [("conv1", cause)]


def test_a_layer_that_keeps_its_signal_is_no_finding() -> None:
    assert causes(variant(), row("conv1", CLIPPED, alone=40.0)) == []
    assert causes(variant(), row("conv1", WIDE, alone=None)) == []


def test_a_channel_may_be_lost_in_a_layer_that_keeps_its_signal() -> None:
    loud = LayerSigns((0, 100), 100, values=(0, 100), channel_percent=1)
    assert causes(variant(), row("conv1", loud, alone=45.0)) == [("conv1", "output_channels")]
    assert causes(variant(), row("conv1", loud._replace(channel_percent=20), alone=45.0)) == []


def test_moving_averages_are_unsettled_only_after_few_steps() -> None:
    signs = LayerSigns((0, 1), 90, batch_norm=BatchNormSign(0.9, 1.0))
    assert causes(variant({"steps": 100}, steps=20), row("conv1", signs, alone=40.0)) == [("conv1", "batch_norm")]
    assert causes(variant(), row("conv1", signs, alone=40.0)) == []


def test_two_layers_with_one_range_are_mixed_and_a_lone_one_is_not() -> None:
    small, large = row("value", WIDE), row("total", WIDE._replace(bulk_percent=90), alone=45.0, position=1)
    assert causes(variant(), small, large) == [("value", "mixed_ranges")]


def test_a_fine_tuning_that_went_astray_is_the_only_finding() -> None:
    astray = row("conv1", CLIPPED, alone=40.0)
    astray["sqnr_db"]["float"] = -20.0
    later = row("conv2", CLIPPED, position=1)
    assert causes(variant(), astray, later) == [("conv1", "learning_rate")]
    assert causes(variant(method="ptq"), astray, later) == [("conv2", "unlike_test")]


@pytest.mark.parametrize(
    ("alone", "cause"),
    [(None, "learning_rate"), (40.0, "learning_rate"), (7.1, "learning_rate"), (7.0, "rounding"), (-9.0, "rounding")],
)
def test_a_layer_that_makes_half_of_the_difference_itself_did_not_go_astray(alone: float | None, cause: str) -> None:
    layer = row("conv1", LayerSigns((0, 1), 90), alone=alone)
    layer["sqnr_db"]["float"] = 4.0
    assert causes(variant(), layer) == [("conv1", cause)]


@pytest.mark.parametrize(("left", "cause"), [(10.0, "narrow_override"), (13.0, "narrow_override"), (13.1, "rounding")])
def test_what_is_cut_off_is_the_cause_only_of_a_noise_that_it_makes_half_of(left: float, cause: str) -> None:
    spec = variant(overrides=[{"layer": "conv1", "range": [0, 1]}])
    assert causes(spec, row("conv1", CLIPPED._replace(clipped_db=left))) == [("conv1", cause)]


@pytest.mark.parametrize(
    ("document", "field"), [({"input": {}}, "input.range"), ({"inputs": {}}, "inputs.images.range")]
)
def test_the_field_of_an_input_is_the_one_that_the_spec_has(document: dict[str, Any], field: str) -> None:
    read = InputSign("images", 10.0, (0, 100), 2.0, (0.0, 1.0))
    spec = variant()._replace(inputs={"images": Input(real=True)})
    (finding,) = diagnose({"layers": [row("conv1", LayerSigns((0, 1), 90, reads=read))]}, spec)
    assert finding.as_written_in(document).fields == (field,)


def test_a_range_behind_a_clipped_layer_is_not_too_wide() -> None:
    rows = row("conv1", CLIPPED), row("conv2", WIDE, alone=5.0, position=1)
    assert causes(variant(method="ptq"), *rows) == [("conv1", "unlike_test")]


def test_a_patch_of_one_override_keeps_the_others() -> None:
    overrides = [{"layer": "conv1", "range": [0, 1], "bits": 8}, {"layer": "fc*", "range": [-6, 6]}]
    spec = variant(scheme="int8", overrides=overrides)
    patches = proposals(
        diagnose({"layers": [row("conv1", CLIPPED)]}, spec), [], {"quantize": {"overrides": overrides}}, spec
    )
    assert patches[0].fields == {"quantize": {"overrides": [{"layer": "fc*", "range": [-6, 6]}]}}
    measured = {"layer": "conv1", "range": [0.0, 21.0]}  # 5 % beyond the float network's values.
    assert patches[1].fields == {"quantize": {"overrides": [overrides[1], measured]}}


@pytest.mark.parametrize(
    ("patched", "expected"),
    [
        (variant(method="ptq"), Cost.CALIBRATION),
        (variant(steps=50), Cost.SHORT_TRAINING),
        (variant(start="scratch"), Cost.LONG_TRAINING),
        (variant(steps=5000), Cost.LONG_TRAINING),
        (variant({"steps": 9000}, method="ptq"), Cost.LONG_TRAINING),
        (variant(method="ptq", overrides=[{"layer": "conv1", "float": True}]), Cost.FLOAT_LAYER),
    ],
)
def test_the_cost_of_a_patch_is_what_it_makes_run_again(patched: Variant, expected: Cost) -> None:
    assert price(variant(), patched).cost is expected
