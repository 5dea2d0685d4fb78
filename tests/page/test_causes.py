"""The causes on the page are those of `doit diagnose`, for the spec that the model was built with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.plan import plan
from qatbuild.exchange.facts import plain
from qatbuild.exchange.layer_signs import InputSign
from qatbuild.report.models import ModelReport
from qatbuild.report.page.causes import causes, recorded_spec
from qatbuild.report.page.stages import history
from qatbuild.report.published_stages import PublishedStages
from qatbuild.schema.load import load
from qatbuild.schema.model import Variant
from qatbuild.schema.rules import AllowedPaths
from qatbuild.schema.typed import typed
from tests.builds.conftest import REPOSITORY
from tests.page.project import WHOLE, Net, built
from tests.unit.test_spec_load import SHIPPED


def settings(variant: Variant) -> dict[str, Any]:
    """What the stages of a variant have of its spec, each section from the stage that has most of it."""
    merged: dict[str, Any] = {}
    for each in plan([variant], REPOSITORY).stages.values():
        for name, value in each.settings.items():
            merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return merged


def rows_of(net: ModelReport) -> list[dict[str, Any]]:
    assert net.report is not None
    return list(net.report["layers"])


def said_of(net: ModelReport, rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The causes of a model, also with other rows of layers."""
    assert net.report is not None
    assert net.home is not None
    return causes({**net.report, "layers": rows or rows_of(net)}, history(net.home, PublishedStages()))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_stages_of_every_shipped_spec_tell_how_it_trains_and_quantizes(name: str) -> None:
    for variant in load(name, SHIPPED[name], AllowedPaths(REPOSITORY)):
        read = typed(variant.label, Path(), recorded_spec(settings(variant), variant.model.weights))
        assert (read.quantize, read.train) == (variant.quantize, variant.train)
        assert (read.inputs, read.outputs) == (variant.inputs, variant.outputs)
        assert read.model.weights == variant.model.weights


def test_the_worst_layer_has_its_cause_in_words_and_the_fields_to_change(tmp_path: Path) -> None:
    (net,) = built(tmp_path, {"net": Net(worst="conv2")})
    said = said_of(net)
    assert said["count"] == 1
    layer, left_db, text, fields = said["worst"][0]
    assert (layer, left_db, fields) == ("conv2", 8.5, ["dataset", "quantize.overrides"])
    assert text.startswith("12 % of its values")


@pytest.mark.parametrize(
    ("names", "field"),
    [
        (["images"], "input.range"),
        (["features"], "inputs.features.range"),
        (["features", "images"], "inputs.images.range"),
    ],
)
def test_the_field_of_a_lone_input_is_that_of_the_short_form(tmp_path: Path, names: list[str], field: str) -> None:
    (net,) = built(tmp_path, {"net": Net(inputs={name: {"real": True} for name in names})})
    reads = InputSign(names[-1], 10.0, (0, 100), 2.0, (0.0, 1.0))
    said = said_of(net, [{**rows_of(net)[0], "signs": plain(WHOLE._replace(reads=reads))}])
    assert said["worst"][0][3] == [field]


def test_a_network_that_only_rounds_has_no_cause(tmp_path: Path) -> None:
    (net,) = built(tmp_path, {"net": Net(worst="")})
    assert said_of(net) == {"count": 0, "worst": []}


def test_the_page_names_as_many_layers_as_doit_diagnose_and_counts_all(tmp_path: Path) -> None:
    (net,) = built(tmp_path, {"net": Net()})
    row = rows_of(net)[0]
    rows = [{**row, "name": f"layer{at}", "sqnr_db": {**row["sqnr_db"], "alone": 20.0 - at}} for at in range(7)]
    said = said_of(net, rows)
    assert said["count"] == 7
    assert [each[0] for each in said["worst"]] == ["layer6", "layer5", "layer4", "layer3", "layer2"]


@pytest.mark.parametrize("lost", ["float", "quantize", "signs", "version"])
def test_without_records_or_signs_nothing_is_said(tmp_path: Path, lost: str) -> None:
    (net,) = built(tmp_path, {"net": Net()})
    rows = rows_of(net)
    if lost == "signs":
        rows = [{name: value for name, value in row.items() if name != "signs"} for row in rows]
    elif lost == "version":
        rows = [{**row, "signs": {"range": [0, 1]}} for row in rows]
    else:
        (tmp_path / ("shared/float-1000" if lost == "float" else "net") / f"{lost}.request.json").unlink()
    assert said_of(net, rows) == {}
