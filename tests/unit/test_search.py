"""The order in which patches are tried, by what the trials before them have shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from qatbuild.engine.cure.float_network import lacks
from qatbuild.engine.cure.limits import limit
from qatbuild.engine.cure.search import Attempt, Search
from qatbuild.engine.cure.specification import Specification
from qatbuild.engine.cure.trial import Trials, Verdict
from qatbuild.exchange.layer_signs import LayerSigns
from qatbuild.report.diagnosis import diagnose
from qatbuild.schema.model import Evaluate, Gate, Variant
from qatbuild.schema.rules import AllowedPaths
from qatbuild.schema.typed import typed
from tests.unit.test_diagnosis import CLIPPED, WIDE, row
from tests.unit.test_patches import PTQ, SPEC, document

GATES = [{"name": "min_top1", "wanted": "at least 85 %", "got": "?", "passed": False}]


def refused(float_top1: float, tflite_top1: float, *rows: dict[str, Any]) -> Verdict:
    top1 = {"float": float_top1, "tflite": tflite_top1, "better": "higher"}
    return Verdict({"metrics": {"top1": top1}, "gates": GATES, "layers": list(rows)})


class Judge:
    """Trials that only answer; `ask` gives the verdict on a variant."""

    def __init__(self, ask: Callable[[Variant], Verdict]) -> None:
        self.judge = ask


def search(spec: Mapping[str, Any], ask: Callable[[Variant], Verdict]) -> tuple[Search, Verdict]:
    specification = Specification("net", "", SPEC, spec, AllowedPaths(SPEC.parents[1]))
    return Search(specification, cast("Trials", Judge(ask))), ask(specification.variant())


def attempts(spec: Mapping[str, Any], ask: Callable[[Variant], Verdict], budget: int) -> list[Attempt]:
    started, verdict = search(spec, ask)
    return list(started.attempts(verdict, budget))


def test_a_float_network_below_what_a_gate_wants_is_trained_longer_before_all_else() -> None:
    spec = document(PTQ, evaluate={"min_top1": 85})

    def ask(variant: Variant) -> Verdict:
        return refused(80 if variant.train.steps < 100_000 else 95, 60)

    tried = [each.patch.fields for each in attempts(spec, ask, 3)]
    assert tried[:2] == [{"train": {"steps": 25_000}}, {"train": {"steps": 100_000}}]
    assert tried[2] == {"train": {"steps": 100_000}, "quantize": {"scheme": "int8_per_channel"}}


def test_what_was_trained_for_longer_is_not_trained_for_still_longer() -> None:
    spec = document(PTQ, evaluate={"min_top1": 85})
    trained: set[int] = set()

    def ask(variant: Variant) -> Verdict:
        trained.add(variant.train.steps)
        return refused(80 if variant.train.steps < 25_000 else 95, 60)

    attempts(spec, ask, 99)
    assert trained == {5000, 25_000, 100_000}


def test_a_float_network_that_reaches_what_the_gates_want_is_trained_longer_after_the_cheap_patches() -> None:
    tried = attempts(document(PTQ, evaluate={"min_top1": 85}), lambda _: refused(90, 60), 12)
    assert ["train" in each.patch.fields for each in tried] == sorted("train" in each.patch.fields for each in tried)
    assert "train" in tried[-1].patch.fields


def test_a_percentile_is_lowered_as_long_as_that_helps_and_then_learnt_in() -> None:
    tops = {None: 30, 99.99: 31, 99.9: 40, 99.0: 60, 95.0: 80, 90.0: 79}

    def ask(variant: Variant) -> Verdict:
        percentile = variant.quantize.calibration.percentile
        wide = row("conv1", WIDE)
        return refused(97, 20 if variant.quantize.method == "qat" else tops[percentile], wide)

    spec = document({**PTQ, "scheme": "int8_per_channel"})
    tried = [each.patch.fields for each in attempts(spec, ask, 30)]
    percentiles = (99.99, 99.9, 99.0, 95.0, 90.0)
    lowered = [{"quantize": {"calibration": {"range": "percentile", "percentile": each}}} for each in percentiles]
    assert [each for each in tried if each in lowered] == lowered
    fixed = {"overrides": [{"layer": "conv1", "range": [0.0, 100.0]}], "method": "qat", "steps": 5000}
    assert {"quantize": {**fixed, "learning_rate": {"initial": 0.1}}} in tried


def test_among_patches_of_one_cost_those_against_the_best_model_come_first() -> None:
    spec = document({**PTQ, "scheme": "int8_per_channel"})

    def ask(variant: Variant) -> Verdict:
        averaged = variant.quantize.calibration.range == "moving_average"
        layer = row("conv2" if averaged else "conv1", WIDE._replace(float_values=(0, 3)))
        return refused(97, 90 if averaged else 30, layer)

    overridden = [
        each["layer"]
        for attempt in attempts(spec, ask, 12)
        for each in attempt.patch.fields.get("quantize", {}).get("overrides", ())
    ]
    assert overridden[:2] == ["conv2", "conv1"]


def test_no_spec_is_tried_twice_however_it_is_written() -> None:
    tried: list[Variant] = []

    def ask(variant: Variant) -> Verdict:
        tried.append(variant._replace(label=""))
        is_cut = variant.quantize.calibration.range == "percentile"
        return refused(97, 60 if is_cut else 30, row("conv1", CLIPPED if is_cut else WIDE))

    attempts(document(PTQ), ask, 99)
    assert any(each.quantize.calibration.range == "percentile" for each in tried)
    assert not [each for index, each in enumerate(tried) if each in tried[:index]]


def test_of_several_ways_to_one_spec_the_shortest_is_printed() -> None:
    def ask(variant: Variant) -> Verdict:
        is_cut = variant.quantize.calibration.range == "percentile"
        return refused(97, 60 if is_cut else 30, row("conv1", WIDE))

    tried = {str(each.patch.fields): each.patch.why for each in attempts(document(PTQ), ask, 99)}
    fine_tuned = tried[str({"quantize": {"method": "qat"}})]
    assert fine_tuned == "a fine-tuning, in which the weights adapt to the ranges"


def test_what_makes_a_model_worse_is_not_added_to_another_patch() -> None:
    def ask(variant: Variant) -> Verdict:
        worse = 20 if variant.quantize.calibration.range == "moving_average" else 0
        top1 = 80 if variant.quantize.scheme == "int8_per_channel" else 30
        return refused(97, top1 - worse, row("conv1", WIDE))

    tried = [each.patch for each in attempts(document({"method": "ptq", "scheme": "int8"}), ask, 99)]
    assert len([each for each in tried if "moving_average" in str(each)]) == 1
    assert len([each for each in tried if "int8_per_channel" in str(each)]) > 1


def test_a_search_knows_how_many_patches_its_budget_was_too_small_for() -> None:
    def ask(_: Variant) -> Verdict:
        return refused(97, 30)

    started, verdict = search(document(PTQ), ask)
    (first,) = started.attempts(verdict, 1)
    rest = len(attempts(document(PTQ), ask, 99)) - 1
    assert (started.untried, first.verdict.passed) == (rest, False)


def test_the_float_network_is_held_against_the_least_and_the_greatest_values_of_the_gates() -> None:
    report = refused(84, 80).report
    report["metrics"]["mae"] = {"float": 2.0, "tflite": 2.5, "better": "lower"}
    assert lacks(report, Evaluate(min_top1=85)) == "its top1 is 84, wanted is at least 85"
    assert lacks(report, Evaluate(gates={"mae": Gate(max=1.5)})) == "its mae is 2, wanted is at most 1.5"
    assert lacks(report, Evaluate(min_top1=84, gates={"mae": Gate(max=2.0), "auc": Gate(min=1)})) == ""


def test_the_limit_names_what_to_change_instead_of_the_spec() -> None:
    loud = LayerSigns((0, 100), 100, values=(0, 100), channel_percent=1)
    findings = diagnose({"layers": [row("conv1", loud, alone=45.0)]}, typed("net", Path(SPEC), document(PTQ)))
    assert limit(findings, "").startswith("conv1: all channels of a tensor have one scale, whatever the spec says.")
    assert limit(findings, "its top1 is 17").startswith("The float network itself is too weak (its top1 is 17)")
    assert limit([], "").startswith("No layer is to blame.")
