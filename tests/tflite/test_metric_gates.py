"""The gates on metrics: the least, the greatest value, and what may be lost against the float network."""

from __future__ import annotations

from typing import Any

import pytest

from qatbuild.exchange.facts import Agreement, Figures
from qatbuild.worker.stages.metric_gates import gates, without_limit

TOP1 = Figures(90.0, 89.0, 88.9999, better="higher", percent=True)
TOP5 = Figures(99.0, 99.0, 50.0, better="higher", percent=True)
MAE = Figures(2.0, 2.05, 2.1, better="lower", percent=False)
R2 = Figures(0.9, 0.89, 0.88, better="higher", percent=False)
SAME = Agreement(99.0, 1.0, 0.3)


def of(metrics: dict[str, Figures], agreement: Agreement = SAME, **asked: Any) -> list[tuple[str, bool]]:
    """The names of the gates, and whether they passed."""
    wanted = {"max_accuracy_drop": 1.0, "min_top1": None, "min_agreement": None, "gates": {}, **asked}
    return [(gate.name, gate.passed) for gate in gates(wanted, metrics, agreement)]


@pytest.mark.parametrize(("limit", "passed"), [(1.0, False), (1.0001, True)])
def test_a_metric_in_percent_may_lose_points(limit: float, passed: bool) -> None:
    assert of({"top1": TOP1, "top5": TOP5}, max_accuracy_drop=limit) == [("max_accuracy_drop", passed)]


@pytest.mark.parametrize(("tflite", "passed"), [(2.1, True), (2.11, False), (1.0, True)])
def test_a_metric_of_the_target_s_unit_may_lose_5_percent_of_the_float_network_s(tflite: float, passed: bool) -> None:
    assert of({"mae": MAE._replace(tflite=tflite), "r2": R2}) == [("mae max_drop", passed)]


@pytest.mark.parametrize(("tflite", "passed"), [(0.86, True), (0.85, False), (1.0, True)])
def test_a_higher_metric_that_is_not_in_percent_may_lose_5_percent_too(tflite: float, passed: bool) -> None:
    assert of({"r2": R2._replace(tflite=tflite)}) == [("r2 max_drop", passed)]


def test_the_first_metric_of_each_output_has_a_gate_by_default() -> None:
    metrics = {"side.top1": TOP1, "side.top5": TOP5, "box.mae": MAE, "box.r2": R2}
    assert of(metrics) == [("side.top1 max_drop", False), ("box.mae max_drop", True)]


def test_5_percent_of_0_are_no_limit_which_a_warning_says() -> None:
    perfect = {"mae": MAE._replace(float=0.0)}
    asked = {"gates": {"mae": {"max_drop": 0.5}}}
    assert of(perfect) == []
    assert of(perfect, gates=asked["gates"]) == [("mae max_drop", False)]
    (text,) = without_limit({"gates": {}}, perfect)
    assert '"gates": {"mae": {"max_drop": ...}}' in text
    assert without_limit(asked, perfect) == without_limit({"gates": {}}, {"mae": MAE}) == []


def test_a_top1_of_0_may_still_lose_points() -> None:
    assert of({"top1": TOP1._replace(float=0.0, tflite=0.0)}) == [("max_accuracy_drop", True)]
    assert without_limit({"gates": {}}, {"top1": TOP1._replace(float=0.0)}) == []


def test_a_metric_without_a_figure_leaves_its_gate_to_the_next() -> None:
    assert of({"tags.accuracy": TOP1, "box.mae": MAE}) == [
        ("tags.accuracy max_drop", False),
        ("box.mae max_drop", True),
    ]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"mae": {"max": 2.1}}, [("mae max_drop", True), ("mae max", True)]),
        ({"mae": {"max": 2.0}}, [("mae max_drop", True), ("mae max", False)]),
        ({"mae": {"max_drop": 0.05}}, [("mae max_drop", False)]),
        ({"mae": {"max_drop": 0.1}}, [("mae max_drop", True)]),
        ({"r2": {"min": 0.88}}, [("mae max_drop", True), ("r2 min", True)]),
        ({"r2": {"min": 0.89, "max_drop": 0.01}}, [("mae max_drop", True), ("r2 min", False), ("r2 max_drop", False)]),
        ({"mae": {"min": None, "max": None, "max_drop": None}}, [("mae max_drop", True)]),
    ],
)
def test_limits_of_a_metric_are_gates_of_their_own(limits: dict[str, Any], expected: list[tuple[str, bool]]) -> None:
    assert of({"mae": MAE, "r2": R2}, gates=limits) == expected


def test_a_metric_that_the_examples_do_not_have_fails_its_gate() -> None:
    (gate,) = gates(
        {"max_accuracy_drop": 1.0, "min_top1": None, "min_agreement": None, "gates": {"auc": {"min": 0.5}}}, {}, SAME
    )
    assert (gate.name, gate.got, gate.passed) == ("auc", "no figure, see the warnings", False)


@pytest.mark.parametrize(("least", "passed"), [(88.9999, True), (89.0, False)])
def test_min_top1_is_of_the_tflite(least: float, passed: bool) -> None:
    assert ("min_top1", passed) in of({"top1": TOP1}, min_top1=least)


@pytest.mark.parametrize(("same", "expected"), [(99.0, [True]), (98.9, [False]), (None, [])])
def test_min_agreement_is_for_outputs_that_give_answers(same: float | None, expected: list[bool]) -> None:
    result = of({"mae": MAE}, SAME._replace(top1_percent=same), min_agreement=99.0)
    assert [passed for name, passed in result if name == "min_agreement"] == expected


def test_wanted_and_got_have_the_metric_s_unit() -> None:
    wanted = {"max_accuracy_drop": 1.0, "min_top1": None, "min_agreement": None}
    asked = {"side.top1": {"min": 80, "max_drop": 2.0}, "box.mae": {"max": 3.5, "max_drop": 0.5}}
    texts = {
        gate.name: (gate.wanted, gate.got)
        for gate in gates({**wanted, "gates": asked}, {"side.top1": TOP1, "box.mae": MAE}, SAME)
    }
    assert texts == {
        "side.top1 min": ("at least 80 %", "88.9999 %"),
        "side.top1 max_drop": ("at most 2.0 points", "1.0001 points"),
        "box.mae max": ("at most 3.5", "2.1"),
        "box.mae max_drop": ("at most 0.5 worse", "0.1 worse"),
    }
