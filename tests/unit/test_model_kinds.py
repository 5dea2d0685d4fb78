"""The kinds of networks in a spec: the fields allowed with each, and the stages that read the network's file."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

import pytest

from qatbuild.engine.plan import Plan, plan
from qatbuild.exchange.errors import SpecError
from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths

META = {"meta_graph": "m.meta", "input": "input:0", "logits": "net/logits:0", "weights": "m"}


def planned(folder: Path, model: dict[str, Any], **fields: Any) -> Plan:
    document = {"input": {"mean": 0, "std_dev": 1}, "model": model, **fields}
    document.setdefault("quantize", {"steps": 5, "learning_rate": {"initial": 0.1}})
    (folder / "net.json").write_text(json.dumps(document))
    return plan(load("net", folder / "net.json", AllowedPaths(folder)), PurePath(folder))


@pytest.mark.parametrize(
    ("model", "pointer", "text"),
    [
        ({"keras": "net.h5", "name": "lenet"}, "/model", "only one of name, call, keras, saved_model"),
        ({"keras": "net.h5", "options": {}}, "/model", "options only with call"),
        ({"keras": "net.h5", "call": "a:b"}, "/model", "only one of name, call, keras, saved_model"),
        ({"keras": "net.h5", **META}, "/model", "only one of name, call, keras, saved_model"),
        ({"keras": "net.pb"}, "/model/keras", "Write the path of a .keras or .h5 file of a whole model"),
        ({"keras": "../net.keras"}, "/model/keras", "lies outside the project"),
        ({"keras": "net.keras", "input": "x:0"}, "/model", "Input is only for meta_graph, saved_model and graph_def"),
        ({"keras": "net.keras", "lrn": True}, "/model/name", "Only cifarnet has lrn"),
        ({"name": "lenet", "width": 0.5}, "/model/name", "Only mobilenet has width"),
        ({**META, "meta_graph": "m.pb"}, "/model/meta_graph", "beside the checkpoint"),
        ({**META, "meta_graph": "/m.meta"}, "/model/meta_graph", "lies outside the project"),
        ({"meta_graph": "m.meta", "weights": "m"}, "/model/logits", "name its tensors"),
        ({**META, "weights": None}, "/model/weights", "name its checkpoint"),
        ({**META, "call": "a:b"}, "/model", "only one of name, call, keras, saved_model"),
    ],
)
def test_fields_of_a_model_that_exclude_each_other_are_refused(
    model: dict[str, Any], pointer: str, text: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as refused:
        planned(tmp_path, model)
    assert any(where == pointer and text in fault for where, fault in refused.value.facts), refused.value.block()


@pytest.mark.parametrize("model", [{"keras": "files/net.keras"}, {**META, "meta_graph": "files/net.meta"}])
def test_the_stages_that_build_the_network_read_its_file_and_no_others(model: dict[str, Any], tmp_path: Path) -> None:
    stages = planned(tmp_path, model).stages.values()
    reading = {stage.name: stage.sources["network"] for stage in stages if "network" in stage.sources}
    file = str(tmp_path / (model.get("keras") or model["meta_graph"]))
    assert reading == dict.fromkeys(["check", "float", "quantize", "export"], file)
    assert str(tmp_path) not in json.dumps([stage.settings for stage in stages])


def test_a_trained_file_needs_no_train(tmp_path: Path) -> None:
    floating = next(stage for stage in planned(tmp_path, {"keras": "net.h5"}).stages.values() if stage.name == "float")
    assert floating.settings["train"]["steps"] == 0


def test_the_version_of_keras_counts_where_a_network_may_be_one_of_keras(tmp_path: Path) -> None:
    (tmp_path / "nets.py").touch()
    train = {"steps": 10, "learning_rate": {"initial": 0.1}}
    for model, wanted in (({"keras": "n.h5"}, True), ({"call": "nets:f"}, True), ({"name": "lenet"}, False)):
        stages = planned(tmp_path, model, train=train).stages.values()
        having = {stage.name for stage in stages if "keras" in stage.packages}
        assert having == ({"check", "float", "quantize", "export"} if wanted else set())
