"""`doit cure` and `doit diagnose` of toy models: what is tried, kept, and said."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from qatbuild.exchange.facts import plain
from qatbuild.exchange.layer_signs import LayerSigns
from tests.builds.conftest import SPEC, ToyProject
from tests.hints import follows
from tests.unit.test_layer_table import row

GATES = [{"name": "min_top1", "wanted": "at least 95 %", "got": "89.4 %", "passed": False}]


def refuse_all(toy: ToyProject) -> None:
    """Lets evaluations refuse every model, for one layer whose values are cut off."""
    signs = LayerSigns((0.0, 1.0), 100.0, values=(0.0, 9.0), float_values=(0.0, 20.0), clipped_percent=30.0)
    signs = signs._replace(clipped_db=9.0, override_name="conv1")
    noise = {"float": 9.0, "fake_quant": 50.0, "alone": 9.0}
    layers = [row("conv1", "CONV_2D", sqnr_db=noise, signs=plain(signs))]
    (toy.root / "report.json").write_text(json.dumps({"layers": layers, "gates": GATES}))
    (toy.root / "broken.txt").write_text("evaluate refuse")


@pytest.fixture
def refused(toy: ToyProject) -> ToyProject:
    """A project whose evaluations refuse every model."""
    refuse_all(toy)
    return toy


def tried(toy: ToyProject, label: str, *options: str) -> list[dict[str, Any]]:
    """What a search tries that ends without success."""
    done = toy.doit("cure", label, "--format", "json", *options)
    assert done.returncode == 1, done.stderr
    (result,) = json.loads(done.stdout)
    assert (result["label"], result["passed"], result["patch"]) == (label, False, None)
    return list(result["tried"])


def test_a_search_ends_with_its_budget(refused: ToyProject) -> None:
    assert len(tried(refused, "net", "--budget", "2")) == 2
    assert refused.runs().count("evaluate") == 3
    said = refused.doit("cure", "net", "--budget", "2").stdout
    left = re.search(
        r"No change of the spec that was tried is enough, (\d+) are left: (doit cure net --budget .*)", said
    )
    assert left is not None
    assert left[2].endswith(f" {2 + int(left[1])}")


def test_a_search_that_has_tried_all_says_why_no_field_helps(refused: ToyProject) -> None:
    tried(refused, "net", "--budget", "1")
    (refused.root / "broken.txt").write_text("evaluate refuse, quantize fail")
    (result,) = json.loads(refused.doit("cure", "net", "--format", "json", "--budget", "99").stdout)
    assert result["untried"] == 0
    assert result["limit"].startswith("conv1: ")


def test_what_was_refused_once_is_not_built_again(refused: ToyProject) -> None:
    first = tried(refused, "net")
    assert len(first) > 2
    refused.runs()
    assert tried(refused, "net") == first
    assert refused.runs() == []
    report = refused.root / "build" / first[0]["label"] / "report.json"
    report.write_text(report.read_text() + "\n")
    assert tried(refused, "net") == first
    assert refused.runs() == ["evaluate"]


def test_trials_share_the_float_training(refused: ToyProject) -> None:
    rows = tried(refused, "net")
    trainings = {json.dumps(each["patch"].get("train")) for each in rows}
    assert refused.runs().count("float") == len(trainings)


def test_a_patch_of_a_variant_is_one_of_its_place_in_the_spec(refused: ToyProject) -> None:
    refused.spec("net", variants={"small": {"quantize": {"steps": 500}}, "other": {}})
    first = tried(refused, "net@small", "--budget", "1")[0]
    measured = {"quantize": {"overrides": [{"layer": "conv1", "range": [0.0, 21.0]}]}}
    assert first["patch"] == {"variants": {"small": measured}}
    assert first["label"].startswith("cure/net@small-")


def test_a_patch_of_a_combination_is_one_of_its_document(refused: ToyProject) -> None:
    refused.spec("net", matrix={"quantize.steps": [500, 600]})
    assert set(tried(refused, "net@steps-500", "--budget", "1")[0]["patch"]) == {"quantize"}


def test_a_trial_that_fails_is_one_line_and_the_search_goes_on(refused: ToyProject) -> None:
    tried(refused, "net", "--budget", "1")
    (refused.root / "broken.txt").write_text("evaluate refuse, quantize fail")
    rows = tried(refused, "net", "--budget", "3")
    assert [bool(each["error"]) for each in rows] == [False, True, True]
    assert rows[1]["error"].startswith("The toy quantize fails.")


def test_a_model_that_cannot_be_built_is_not_searched(toy: ToyProject) -> None:
    (toy.root / "broken.txt").write_text("float fail")
    done = toy.doit("cure", "net")
    assert done.returncode == 1
    assert "net cannot be built: The toy float fails." in done.stdout
    assert "Traceback" not in done.stderr


def test_without_a_label_the_hint_names_one(refused: ToyProject) -> None:
    done = refused.doit("cure")
    assert done.returncode != 0
    assert f"hint: {follows('doit cure ')}net" in done.stderr
    assert "net is refused" in refused.doit("cure", "net", "--budget", "1").stdout


def test_a_search_needs_a_budget(refused: ToyProject) -> None:
    done = refused.doit("cure", "net", "--budget", "0")
    assert done.returncode != 0
    assert f"hint: {follows('--budget 12')}" in done.stderr
    assert tried(refused, "net", "--budget", "12")


def test_no_spec_can_have_the_name_of_the_folder_of_trials(refused: ToyProject) -> None:
    (refused.root / "specs/cure.json").write_text(json.dumps(SPEC))
    assert 'a spec cannot be named "cure"' in refused.doit("check").stdout


def test_a_refused_model_is_diagnosed_like_any_other(refused: ToyProject) -> None:
    done = refused.doit("diagnose", "net")
    assert "The model has no report with layers." in done.stderr
    assert "hint: doit net" in done.stderr
    refused.doit("net")
    text = refused.doit("diagnose", "net").stdout
    assert text.startswith("net\n  conv1 (CONV_2D): 9.0 dB, few steps\n    30 % of its values (0 .. 9)")
    assert text.endswith("    change: quantize.steps\n  What helps: doit cure net\n")


def test_a_network_that_is_too_weak_has_no_layer_to_blame(refused: ToyProject) -> None:
    report = json.loads((refused.root / "report.json").read_text())
    report["layers"][0]["sqnr_db"] = {"float": 40.0, "fake_quant": 50.0, "alone": 40.0}
    (refused.root / "report.json").write_text(json.dumps(report))
    refused.doit("net")
    text = refused.doit("diagnose", "net").stdout
    assert "No layer loses more than rounding does.\n  Refused by its gates all the same (min_top1: wanted" in text


@pytest.mark.parametrize("missing", ["signs", "clipped_db"])
def test_a_report_of_an_earlier_version_is_no_sound_model(refused: ToyProject, missing: str) -> None:
    whole = json.loads((refused.root / "report.json").read_text())
    earlier = json.loads(json.dumps(whole))
    row_of_layer = earlier["layers"][0]
    del (row_of_layer if missing == "signs" else row_of_layer["signs"])[missing]
    (refused.root / "report.json").write_text(json.dumps(earlier))
    refused.doit("net")
    done = refused.doit("diagnose", "net")
    assert done.returncode != 0
    assert "The report is of another version of qatbuild, which measured other signs of causes.\n" in done.stderr
    assert "build/net/report.json" in done.stderr
    assert "hint: doit net" in done.stderr
    (refused.root / "report.json").write_text(json.dumps(whole))
    (refused.root / "build/net/report.json").unlink()
    refused.doit("net")
    assert "few steps" in refused.doit("diagnose", "net").stdout
