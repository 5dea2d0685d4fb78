"""The model card: what is filled from facts, what only from the spec's own card, and that nothing is invented."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scipy.stats import binomtest

from qatbuild.report.bill_of_materials import bill_of_materials
from qatbuild.report.model_card import BuiltModel, model_card
from qatbuild.schema.model import About, Card
from tests.official import bom_faults

FIGURES = {"float": 98.0, "fake_quant": 97.5, "tflite": 97.0, "better": "higher", "percent": True}
TENSOR = {"dtype": "uint8", "scale": 0.5, "zero_point": 3, "shape": [1, 8, 8, 1]}
FACTS: dict[str, dict[str, Any]] = {
    "dataset": {
        "columns": {"images": {"dtype": "uint8", "shape": [8, 8, 1]}, "labels": {"dtype": "int32", "shape": []}},
        "counts": {"train": 1000, "test": 400},
        "notes": ["train and test share their writers"],
    },
    "float": {"last": 100},
    "quantize": {"last": 20},
    "convert": {"inputs": [["images", TENSOR]], "outputs": [["labels", TENSOR]], "operators": ["CONV_2D", "SOFTMAX"]},
    "evaluate": {
        "examples": 400,
        "metrics": {"top1": FIGURES, "mae": {**FIGURES, "percent": False}},
        "agreements": {"labels": {"top1_percent": 99.0, "max_lsb": 2.0}},
        "bytes": {"tflite": 1000, "ratio": 3.9},
        "warnings": ["one class has no image"],
        "runtimes": {"tflm": "", "vela": "RESIZE"},
    },
}
CARD = Card(
    "2.1", "MIT", ("A team",), "", ("testers",), ("tests",), ("small",), {"risk": "met"}, {"group": "met"}, ("faces",)
)
NO_CARD = Card()
FIELDS = {
    "modelParameters": (
        "approach", "task", "architectureFamily", "modelArchitecture", "datasets", "inputs", "outputs",
    ),
    "quantitativeAnalysis": ("performanceMetrics", "graphics"),
    "considerations": (
        "users", "useCases", "technicalLimitations", "performanceTradeoffs", "ethicalConsiderations",
        "environmentalConsiderations", "fairnessAssessments",
    ),
}  # fmt: skip
"""All fields of CycloneDX 1.6's modelCard but its properties."""


def model(card: Card = NO_CARD, **changed: Any) -> BuiltModel:
    settings = {"model": {"name": "net"}, "outputs": {"labels": {"task": "classification"}}, "dataset": {"name": "npz"}}
    fields: dict[str, Any] = {
        "label": "net",
        "about": About("A network.", card),
        "settings": settings,
        "facts": FACTS,
        "files": {"model.tflite": (1000, "ab" * 32), "frozen_graph.pb": (3900, "cd" * 32)},
        "dataset": "ef" * 32,
        "packages": (("numpy", "2.4.6", "pkg:pypi/numpy@2.4.6"),),
        "processors": ("A processor",),
    }
    return BuiltModel(**{**fields, **changed})


def filled_percent(card: dict[str, Any]) -> float:
    rows = [bool(card.get(section, {}).get(name)) for section, names in FIELDS.items() for name in names]
    return 100 * sum(rows) / len(rows)


def test_facts_alone_fill_more_than_the_field_s_mean_and_a_card_nearly_all() -> None:
    """54 of 100 is the mean of 97,940 models on Hugging Face; what is left are graphics."""
    assert filled_percent(model_card(model())) == pytest.approx(68.75)
    assert filled_percent(model_card(model(CARD))) == pytest.approx(93.75)


@pytest.mark.parametrize("each", [model(), model(CARD), model(facts={}, files={}, dataset="", settings={})])
def test_every_bill_of_materials_is_valid(each: BuiltModel) -> None:
    assert bom_faults(bill_of_materials(each)) == ""


def test_without_facts_nothing_is_claimed() -> None:
    empty = model(facts={}, settings={}, dataset="", processors=(), about=About())
    assert model_card(empty) == {"bom-ref": "model-card"}


def test_limitations_are_the_report_s_warnings_what_runtimes_lack_and_notes_about_the_data() -> None:
    limits = model_card(model(CARD))["considerations"]["technicalLimitations"]
    assert limits == [
        "small",
        "one class has no image",
        "vela cannot compute: RESIZE",
        "train and test share their writers",
    ]


def test_only_a_part_of_the_examples_has_a_confidence_interval() -> None:
    rows = model_card(model())["quantitativeAnalysis"]["performanceMetrics"]
    top1 = next(row for row in rows if row["type"] == "top1 (%)" and row["slice"].startswith("model.tflite"))
    assert top1["value"] == "97"
    low, high = binomtest(388, 400).proportion_ci(method="wilson")
    ends = {name: float(value) for name, value in top1["confidenceInterval"].items()}
    assert ends == {"lowerBound": pytest.approx(100 * low, abs=1e-3), "upperBound": pytest.approx(100 * high, abs=1e-3)}
    assert all("confidenceInterval" not in row for row in rows if row["type"] != "top1 (%)")


@pytest.mark.parametrize(
    ("tasks", "approach"),
    [
        (["classification"], "supervised"),
        (["regression", "detection"], "supervised"),
        (["reconstruction"], "unsupervised"),
        (["reconstruction", "classification"], None),
        (["call"], None),
    ],
)
def test_the_approach_follows_the_tasks_or_is_left_out(tasks: list[str], approach: str | None) -> None:
    outputs = {f"out{number}": {"task": task} for number, task in enumerate(tasks)}
    parameters = model_card(model(settings={"outputs": outputs}))["modelParameters"]
    assert parameters.get("approach", {}).get("type") == approach
    assert parameters["task"] == ", ".join(tasks)


def test_equal_models_have_one_document_and_others_another_number() -> None:
    one, other = (json.loads(bill_of_materials(each)) for each in (model(), model(CARD)))
    assert bill_of_materials(model()) == bill_of_materials(model())
    assert one["serialNumber"] != other["serialNumber"]
    assert "timestamp" not in json.dumps(one)
