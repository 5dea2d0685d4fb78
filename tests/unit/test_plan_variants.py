"""The plan of a spec's variants: which stages they share, and which an edit of quantize.* makes stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.plan import Plan, plan
from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths

BASE: dict[str, Any] = {
    "input": {"mean": 121, "std_dev": 64},
    "model": {"name": "digitsnet"},
    "train": {"steps": 100, "learning_rate": {"initial": 0.1}},
    "quantize": {"steps": 50},
}
VARIANTS: dict[str, Any] = {
    "uint8": {},
    "int8": {"quantize": {"scheme": "int8"}},
    "channels": {"quantize": {"scheme": "int8_per_channel"}},
    "ptq": {"quantize": {"method": "ptq"}},
    "tf1": {"quantize": {"mode": "tf1"}},
}


def planned(folder: Path, **fields: Any) -> Plan:
    file = folder / "net.json"
    file.write_text(json.dumps({**BASE, **fields}))
    return plan(load("net", file, AllowedPaths(folder)), folder)


def of(planned: Plan, stage: str) -> dict[str, str]:
    """Variant -> where its stage is."""
    return {label.partition("@")[2]: ids[stage] for label, ids in planned.labels.items() if stage in ids}


def recipes(planned: Plan) -> dict[str, str]:
    """Stage -> recipe, of a spec without variants."""
    return {name: planned.stages[id_].recipe for name, id_ in planned.labels["net"].items()}


def changed(folder: Path, **quantize: Any) -> set[str]:
    """The stages that an edit of quantize.* changes."""
    before = recipes(planned(folder))
    after = recipes(planned(folder, quantize={**BASE["quantize"], **quantize}))
    return {name for name in after if after[name] != before[name]}


def test_all_schemes_modes_and_methods_share_one_float_training(tmp_path: Path) -> None:
    shared = planned(tmp_path, variants=VARIANTS)
    assert len(set(of(shared, "float").values())) == 1
    assert len(set(of(shared, "quantize").values())) == len(VARIANTS)


def test_ptq_and_qat_of_one_scheme_share_check_and_inference_graph(tmp_path: Path) -> None:
    shared = planned(tmp_path, variants={"qat": {}, "ptq": {"quantize": {"method": "ptq"}}})
    check, export = of(shared, "check"), of(shared, "export")
    assert check["qat"] == check["ptq"]
    assert shared.stages[export["qat"]].recipe == shared.stages[export["ptq"]].recipe


def test_float_training_waits_for_the_check_of_its_only_label(tmp_path: Path) -> None:
    alone, several = planned(tmp_path), planned(tmp_path, variants=VARIANTS)
    assert alone.stages[alone.labels["net"]["float"]].after == (alone.labels["net"]["check"],)
    assert several.stages[of(several, "float")["int8"]].after == ()


@pytest.mark.parametrize(
    ("edit", "stages"),
    [
        ({"learning_rate": {"initial": 0.5}}, set()),
        ({"steps": 60}, set()),
        ({"quant_delay": 5}, set()),
        ({"freeze_bn_delay": 5}, set()),
        ({"scheme": "int8"}, {"check", "export"}),
        ({"mode": "tf1"}, {"check", "export"}),
        ({"overrides": [{"layer": "conv1", "range": [0, 6]}]}, {"check", "export"}),
    ],
)
def test_edit_of_quantize_leaves_the_float_training_alone(
    tmp_path: Path, edit: dict[str, Any], stages: set[str]
) -> None:
    # What follows a quantized training, or an inference graph, has another recipe whenever that has.
    assert changed(tmp_path, **edit) == {"quantize", "freeze", "convert", "evaluate", *stages}


def test_edit_of_the_calibration_touches_neither_check_nor_float_nor_export(tmp_path: Path) -> None:
    before = recipes(planned(tmp_path, quantize={"method": "ptq"}))
    after = recipes(planned(tmp_path, quantize={"method": "ptq", "calibration": {"images": 99}}))
    assert {name for name in after if after[name] != before[name]} == {"quantize", "freeze", "convert", "evaluate"}


def test_calibration_reads_nothing_of_a_training_but_its_seed(tmp_path: Path) -> None:
    result = planned(tmp_path, quantize={"method": "ptq"})
    settings = result.stages[result.labels["net"]["quantize"]].settings
    assert settings["train"] == {"seed": 1}
    assert set(settings["quantize"]) == {"mode", "method", "scheme", "calibration", "overrides"}
    assert "augment" not in settings


def test_only_ptq_s_code_holds_the_calibration(tmp_path: Path) -> None:
    shared = planned(tmp_path, variants=VARIANTS)
    holding = {
        name
        for name, id_ in of(shared, "quantize").items()
        if "qatbuild.worker.stages.calibrate" in shared.stages[id_].modules
    }
    assert holding == {"ptq"}
