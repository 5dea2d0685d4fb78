"""Inputs, outputs, data and gates of a spec as typed values, as patches of each other, and as settings of stages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.code_digest import PACKAGE, Code
from qatbuild.engine.plan import Plan, Stage, plan
from qatbuild.schema import model
from qatbuild.schema.load import load, patched
from qatbuild.schema.rules import AllowedPaths
from qatbuild.schema.tasks import TASKS

BASE: dict[str, Any] = {
    "model": {"name": "digitsnet"},
    "train": {"steps": 100, "learning_rate": {"initial": 0.1}},
}
BYTES = {"mean": 0, "std_dev": 255}
NPZ = {"name": "npz", "path": "data.npz"}
GRID = {"feature_maps": [[8, 8]], "scales": [0.5]}
CALLED: dict[str, Any] = {
    "task": "call",
    "loss": "losses:of",
    "metrics": {"worst": {"call": "metrics:worst", "better": "lower"}, "best": {"call": "metrics:best"}},
}
BUILDING = ("check", "float", "quantize", "export")


def variants(folder: Path, **fields: Any) -> list[model.Variant]:
    for name in ("losses", "metrics"):
        (folder / f"{name}.py").touch()
    document = {key: value for key, value in {"input": BYTES, **BASE, **fields}.items() if value is not None}
    (folder / "net.json").write_text(json.dumps(document))
    return load("net", folder / "net.json", AllowedPaths(folder))


def planned(folder: Path, **fields: Any) -> Plan:
    return plan(variants(folder, **fields), folder)


def stages(folder: Path, **fields: Any) -> dict[str, Stage]:
    return {stage.name: stage for stage in planned(folder, **fields).stages.values()}


def stale(folder: Path, before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The stages whose own settings an edit changes."""
    one, other = stages(folder, **before), stages(folder, **after)
    return {name for name in other if other[name].settings != one[name].settings}


def test_a_spec_of_one_scaling_has_the_input_images_and_classifies_labels(tmp_path: Path) -> None:
    (variant,) = variants(tmp_path, input={"mean": 121, "std_dev": 64})
    assert variant.inputs == {"images": model.Input(121.0, 64.0)}
    assert variant.outputs == {"labels": model.Output("classification", values="probabilities")}


def test_the_short_form_and_its_long_form_are_the_same_stages(tmp_path: Path) -> None:
    long: dict[str, Any] = {
        "input": None,
        "inputs": {"images": BYTES},
        "outputs": {"labels": {"task": "classification"}},
    }
    assert planned(tmp_path).stages == planned(tmp_path, **long).stages


def test_every_task_has_its_own_defaults(tmp_path: Path) -> None:
    needed: dict[str, Any] = {"detection": {"anchors": GRID}, "call": CALLED}
    outputs = {name: {"task": name, **needed.get(name, {})} for name in TASKS}
    (variant,) = variants(tmp_path, dataset=NPZ, outputs=outputs)
    assert {name: output.loss for name, output in variant.outputs.items() if output.loss} == {
        "call": "losses:of",
        "reconstruction": "mse",
        "regression": "mse",
    }
    assert {name: output.values for name, output in variant.outputs.items() if output.values} == {
        "classification": "probabilities",
        "segmentation": "logits",
    }
    assert variant.outputs["detection"].anchors == model.Anchors(((8, 8),), (0.5,), (1.0, 2.0, 0.5))


def test_settings_of_an_input_have_the_fields_of_its_kind_only(tmp_path: Path) -> None:
    inputs = {"image": {"mean": [124, 116, 104], "std_dev": 1, "order": "bgr"}, "sound": {"real": True}}
    convert = stages(tmp_path, dataset=NPZ, input=None, inputs=inputs)["convert"]
    assert convert.settings["inputs"] == {
        "image": {"mean": [124.0, 116.0, 104.0], "std_dev": 1.0, "order": "bgr"},
        "sound": {"real": True, "range": None},
    }


@pytest.mark.parametrize(
    ("patch", "inputs"),
    [
        ({"inputs": {"a": BYTES}}, {"a": model.Input(0.0, 255.0)}),
        ({"input": {"mean": 5}}, {"images": model.Input(5.0, 255.0)}),
        ({"input": {"real": True, "range": [0, 1]}}, {"images": model.Input(real=True, range=(0.0, 1.0))}),
    ],
)
def test_a_variant_replaces_the_input_of_its_spec(
    tmp_path: Path, patch: dict[str, Any], inputs: dict[str, model.Input]
) -> None:
    (variant,) = variants(tmp_path, dataset=NPZ, variants={"a": patch})
    assert variant.inputs == inputs


def test_a_patch_drops_what_excludes_it_and_nothing_else() -> None:
    real = {"inputs": {"a": {"real": True, "range": [0, 1]}, "b": {"real": True}}}
    assert patched(real, {"inputs": {"a": BYTES}}) == {"inputs": {"a": BYTES, "b": {"real": True}}}
    assert patched(real, {"input": BYTES}) == {"input": BYTES}
    assert patched({"input": BYTES}, {"input": None, "inputs": {"a": BYTES}}) == {"inputs": {"a": BYTES}}
    box = {"task": "detection", "anchors": GRID, "weight": 2, "target": "boxes"}
    patch = {"outputs": {"box": {"task": "regression"}}}
    assert patched({"outputs": {"box": box}}, patch) == {
        "outputs": {"box": {"task": "regression", "weight": 2, "target": "boxes"}}
    }
    error = {"task": "regression", "loss": "huber", "range": [0, 1]}
    patch = {"outputs": {"error": {"task": "reconstruction"}}}
    assert patched({"outputs": {"error": error}}, patch) == {"outputs": {"error": {**error, "task": "reconstruction"}}}
    assert patched({"outputs": {"error": error}}, {"outputs": {"error": {"task": "call"}}}) == {
        "outputs": {"error": {"task": "call"}}
    }


def test_a_gate_of_one_of_several_outputs_is_a_field_of_a_matrix(tmp_path: Path) -> None:
    outputs = {"a": {"task": "classification"}, "b": {"task": "regression"}}
    matrix = {"evaluate.gates.b.mae.max": [1, 2]}
    built = variants(tmp_path, dataset=NPZ, outputs=outputs, matrix=matrix)
    assert {variant.label: variant.evaluate.gates for variant in built} == {
        "net@max-1": {"b.mae": model.Gate(max=1.0)},
        "net@max-2": {"b.mae": model.Gate(max=2.0)},
    }


def test_the_scaling_of_an_input_is_a_field_of_a_matrix(tmp_path: Path) -> None:
    inputs = {"a": BYTES, "b": {"real": True}}
    built = variants(tmp_path, dataset=NPZ, input=None, inputs=inputs, matrix={"inputs.a.mean": [0, 127.5]})
    assert [variant.inputs["a"].mean for variant in built] == [0.0, 127.5]


@pytest.mark.parametrize(
    ("before", "after", "edited"),
    [
        ({}, {"input": {"mean": 5, "std_dev": 255}}, {*BUILDING, "convert", "evaluate", "deploy.c_array"}),
        ({}, {"augment": {"pad_crop": 2}}, {"float", "quantize"}),
        ({}, {"evaluate": {"gates": {"top1": {"min": 9}}}}, {"evaluate"}),
        ({}, {"dataset": {"validation": 0.2}}, {"dataset"}),
        (
            {"dataset": NPZ, "outputs": {"a": {"task": "regression"}}},
            {"dataset": NPZ, "outputs": {"a": {"task": "regression", "loss": "mae"}}},
            {*BUILDING, "convert", "evaluate", "deploy.c_array"},
        ),
    ],
)
def test_an_edit_reaches_the_stages_that_read_the_field(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], edited: set[str]
) -> None:
    route: dict[str, Any] = {"deploy": {"c_array": {}}}
    assert stale(tmp_path, {**route, **before}, {**route, **after}) == edited


def test_another_order_of_metrics_is_another_recipe(tmp_path: Path) -> None:
    """The first metric gates, and chooses the best checkpoint; a digest sorts the members of an object."""
    turned = {**CALLED, "metrics": dict(reversed(CALLED["metrics"].items()))}
    one, other = (stages(tmp_path, dataset=NPZ, outputs={"a": output}) for output in (CALLED, turned))
    assert one["float"].settings["outputs"]["a"]["metric_order"] == ["worst", "best"]
    assert one["float"].recipe != other["float"].recipe


def test_the_dataset_reads_the_fields_of_its_kind_only(tmp_path: Path) -> None:
    own = {"name", "url", "sha256", "validation", "labels"}
    assert set(stages(tmp_path)["dataset"].settings["dataset"]) == own
    pictures = {"name": "images", "path": "data/pictures", "table": "data/labels.csv", "splits": {"validation": "val"}}
    dataset = stages(tmp_path, dataset=pictures)["dataset"]
    settings = dataset.settings["dataset"]
    assert set(settings) == own | {"size", "resize", "color", "background", "skip_damaged", "table", "splits", "test"}
    assert settings["splits"] == {"train": "train", "validation": "val", "test": "test"}
    assert settings["table"] == "../labels.csv"  # as from the pictures
    assert dataset.sources == {"data": str(tmp_path / "data/pictures"), "table": str(tmp_path / "data/labels.csv")}
    features = {"x": {"feature": "image/encoded", "kind": "picture"}}
    records = stages(tmp_path, dataset={"name": "tfrecord", "path": "d", "features": features})["dataset"]
    assert records.settings["dataset"]["features"] == {"x": {**features["x"], "shape": None}}
    assert "qatbuild.worker.datasets.tfrecord" in records.modules


def test_a_stage_runs_the_modules_of_the_spec_s_own_tasks(tmp_path: Path) -> None:
    outputs = {"a": {"task": "classification"}, "b": CALLED}
    several = stages(tmp_path, dataset=NPZ, outputs=outputs, deploy={"c_array": {}})
    modules = {"qatbuild.worker.tasks.classification", "qatbuild.worker.tasks.call", "losses", "metrics"}
    running = {name for name, stage in several.items() if modules <= set(stage.modules)}
    assert running == {*BUILDING, "evaluate", "deploy.c_array"}
    one = stages(tmp_path)["float"].modules
    assert {module for module in one if ".tasks" in module} == {"qatbuild.worker.tasks.classification"}


def test_an_edit_of_one_task_leaves_models_of_other_tasks_up_to_date(tmp_path: Path) -> None:
    package = shutil.copytree(PACKAGE, tmp_path / "qatbuild", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "worker/tasks").mkdir(exist_ok=True)
    files = {name: package / f"worker/tasks/{name}.py" for name in ("detection", "classification")}
    for file in files.values():
        file.write_text("LOSS = 1\n")
    boxes = {"a": {"task": "detection", "anchors": GRID}}
    specs = {"classes": stages(tmp_path), "boxes": stages(tmp_path, dataset=NPZ, outputs=boxes)}

    def digests() -> dict[tuple[str, str], str]:
        code = Code(tmp_path, package=package)
        return {
            (spec, name): code.digest(stage.modules)
            for spec, planned in specs.items()
            for name, stage in planned.items()
        }

    before = digests()
    files["detection"].write_text("LOSS = 2\n")
    after = digests()
    assert {each for each in after if after[each] != before[each]} == {
        ("boxes", name) for name in (*BUILDING, "evaluate")
    }


@pytest.mark.parametrize(
    ("fields", "module"),
    [
        ({"saved_model": "nets/a", "signature": "serve"}, "qatbuild.worker.models.saved_model"),
        ({"graph_def": "nets/a.pb", "input": "x:0"}, "qatbuild.worker.models.frozen_graph"),
    ],
)
def test_a_network_of_a_file_is_a_source_of_the_stages_that_build_it(
    tmp_path: Path, fields: dict[str, Any], module: str
) -> None:
    kind, path = next(iter(fields.items()))
    built = stages(tmp_path, model=fields, train=None, quantize={"method": "ptq"})
    reading = {name: stage for name, stage in built.items() if "network" in stage.sources}
    assert set(reading) == set(BUILDING)
    for stage in reading.values():
        assert stage.sources["network"] == str(tmp_path / path)
        assert stage.settings["model"] == {**fields, kind: Path(path).name, "options": {}}
        assert module in stage.modules
