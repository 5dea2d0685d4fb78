"""Training: slow from the first step, never learning, settings that are ignored."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from qatbuild.exchange.errors import SpecError
from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths
from tests.pains.conftest import TRAIN, Built

pytestmark = pytest.mark.tf

SPEC: dict[str, Any] = {"input": {"mean": 0, "std_dev": 1}, "model": {"name": "lenet"}, "train": TRAIN}


def fault(folder: Path, **fields: Any) -> str:
    """What `doit check` says of a spec."""
    file = folder / "net.json"
    file.write_text(json.dumps({**SPEC, **fields}))
    with pytest.raises(SpecError) as refused:
        load("net", file, AllowedPaths(folder))
    return refused.value.block()


def test_the_float_part_has_no_fake_quantization_and_fine_tuning_starts_anew(built: Built) -> None:
    """models#6909: five to ten times slower from the first step; old slots and a decayed rate in the fine-tuning."""
    trained, tuned = built.variables("usual@qat", "float"), built.variables("usual@qat", "quantize")
    assert built.stage("usual@qat", "float").folder == built.stage("usual@narrow", "float").folder
    assert not [name for name in trained if "quant" in name or "Adam" in name]
    assert [name for name in tuned if name.endswith("_quant/max")]
    assert (int(trained["global_step"]), int(tuned["global_step"])) == (100, 20)
    log = (built.stage("usual@qat", "quantize").folder / "log.txt").read_text()
    rates = [float(each) for each in re.findall(r"learning rate ([\d.e-]+)", log)]
    assert rates
    assert set(rates) == {0.002}


def test_quantization_of_random_weights_from_the_first_step_is_warned_of_in_the_report(
    built: Built, tmp_path: Path
) -> None:
    """tf-slim#11: `quant_delay=1` from scratch never learns."""
    warning = "The training starts from random weights and is quantized from step 1 of 100 on"
    for label, warned in (("usual@hurried", True), ("usual@qat", False)):
        assert any(text.startswith(warning) for text in built.report(label)["warnings"]) == warned
    assert f"usual@hurried: {warning}" in built.printed
    text = fault(tmp_path, quantize={"start": "scratch", "quant_delay": 100})
    assert "must be less than the 100 steps of its training, or nothing is quantized; got 100" in text


def test_no_setting_is_ignored_and_a_rewrite_of_nothing_is_refused(refused: Mapping[str, str], tmp_path: Path) -> None:
    """models#9835: `graph_rewriter` in the configuration, and a model without quantization, without a word."""
    assert 'unknown field. Did you mean "quant_delay"?' in fault(tmp_path, quantize={"quant_dealy": 5})
    assert "/graph_rewriter  unknown field" in fault(tmp_path, graph_rewriter={"quantization": {"delay": 5}})
    assert "ptq does not train: remove this field" in fault(tmp_path, quantize={"method": "ptq", "quant_delay": 5})
    assert "The network has no layer that could be quantized: nothing was changed" in refused["without_layers"]
    assert "hint: Begin it with a convolution or a dense layer" in refused["without_layers"]
