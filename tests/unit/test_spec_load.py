"""Loaded specs are merged and typed, with every default filled in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qatbuild.schema import model
from qatbuild.schema.faults import SCHEMA_PATH, validator
from qatbuild.schema.load import find, load, merge_patch
from qatbuild.schema.routes import REAL, ROUTES
from qatbuild.schema.rules import AllowedPaths

REPOSITORY = Path(__file__).parents[2]
SHIPPED = find(REPOSITORY / "specs")
SCHEMA = json.loads(SCHEMA_PATH.read_text())
OBJECTS: dict[str, Any] = {
    "dataset": model.Dataset,
    "input": model.Input,
    "augment": model.Augment,
    "model": model.Model,
    "train": model.Train,
    "quantize": model.Quantize,
    "convert": model.Convert,
    "card": model.Card,
    "evaluate": model.Evaluate,
    "learning_rate": model.LearningRate,
    "calibration": model.Calibration,
    "override": model.Override,
    **ROUTES,
}


def write(folder: Path, name: str, document: dict[str, Any]) -> Path:
    (folder / name).write_text(json.dumps(document))
    return folder / name


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_spec_is_valid_and_names_its_schema(name: str) -> None:
    assert load(name, SHIPPED[name], AllowedPaths(REPOSITORY))
    named = json.loads(SHIPPED[name].read_text())["$schema"]
    assert (SHIPPED[name].parent / named).resolve() == SCHEMA_PATH.with_name("editor.schema.json").resolve()


def test_schema_is_valid_json_schema() -> None:
    validator().check_schema(SCHEMA)


def test_every_optional_field_documents_its_default() -> None:
    silent = [
        f"{name}/{field}"
        for name, node in SCHEMA["$defs"].items()
        for field, schema in node["properties"].items()
        if field not in node.get("required", [])
        and not {"default", "$ref"} & set(schema)
        and "efault" not in schema["description"]
        and (name, field) not in {("model", "name"), ("model", "call")}  # one of the two is there
    ]
    assert silent == []


def test_every_field_has_a_description() -> None:
    def bare(node: Any, path: str) -> list[str]:
        bare_fields = []
        for name, field in node.get("properties", {}).items():
            if "$ref" not in field:
                bare_fields += [] if "description" in field else [f"{path}/{name}"]
                bare_fields += bare(field, f"{path}/{name}")
        return bare_fields

    assert bare(SCHEMA, "") == []
    assert [line for name, node in SCHEMA["$defs"].items() for line in bare(node, name)] == []


@pytest.mark.parametrize("name", OBJECTS)
def test_typed_value_and_schema_agree_on_fields_and_defaults(name: str) -> None:
    """Regenerate by hand: schema.json is the source, model.py follows it."""
    properties = SCHEMA["$defs"][name]["properties"]
    kind = OBJECTS[name]
    written = set(properties) - {"$comment"} - ({"lrn", "width"} if name == "model" else set())  # these become options
    assert set(kind._fields) == written
    for field, default in kind._field_defaults.items():
        if not hasattr(default, "_fields"):  # Of another object each field has its own default.
            assert model.plain(default) == properties[field].get("default"), field


def test_real_numbers_of_routes_are_those_of_the_schema() -> None:
    options = [each for name in ROUTES for each in SCHEMA["$defs"][name]["properties"].items()]
    assert {name for name, option in options if "number" in option.get("type", ())} == REAL


def test_patch_follows_rfc_7396() -> None:
    assert merge_patch({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": None, "e": 4}, "d": [5]}) == {
        "a": {"c": 2, "e": 4},
        "d": [5],
    }


def test_null_in_a_variant_removes_fields_of_the_spec_and_its_base(tmp_path: Path) -> None:
    base = {
        "input": {"mean": 0, "std_dev": 1},
        "augment": {"pad_crop": 4},
        "model": {"name": "lenet"},
        "train": {"steps": 10, "learning_rate": {"initial": 0.1}},
        "variants": {"plain": {"augment": None}, "gone": {}},
    }
    write(tmp_path, "base.json", base)
    child = write(tmp_path, "net.json", {"extends": "base.json", "variants": {"gone": None, "more": {}}})
    plain, more = load("net", child, AllowedPaths(tmp_path))
    assert (plain.label, plain.augment.pad_crop) == ("net@plain", 0)
    assert (more.label, more.augment.pad_crop) == ("net@more", 4)


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    text = (REPOSITORY / "specs/digits.json").read_text()
    (tmp_path / "net.json").write_text(text, encoding="utf-8-sig")
    assert load("net", tmp_path / "net.json", AllowedPaths(tmp_path))


def test_variants_are_patches_of_their_spec(tmp_path: Path) -> None:
    document = {
        "input": {"mean": 0, "std_dev": 1}, "model": {"name": "lenet"},
        "train": {"steps": 10, "learning_rate": {"initial": 0.1}},
        "variants": {"short": {"train": {"steps": 5}}, "plain": {}},
    }  # fmt: skip
    short, plain = load("net", write(tmp_path, "net.json", document), AllowedPaths(tmp_path))
    assert (short.label, short.train.steps) == ("net@short", 5)
    assert (plain.label, plain.train.steps) == ("net@plain", 10)


def test_path_of_a_base_is_relative_to_the_base(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    document = {
        "dataset": {"name": "cifar10", "path": "data.tar"}, "input": {"mean": 0, "std_dev": 1},
        "model": {"name": "cifarnet"}, "train": {"steps": 10, "learning_rate": {"initial": 0.1}},
    }  # fmt: skip
    write(tmp_path, "net.json", document)
    (variant,) = load("deep/net", write(tmp_path, "deep/net.json", {"extends": "../net.json"}), AllowedPaths(tmp_path))
    assert Path(str(variant.dataset.path)).resolve() == (tmp_path / "data.tar").resolve()


def test_fine_tuning_takes_a_fifth_of_the_steps_at_a_tenth_of_the_rate(tmp_path: Path) -> None:
    document = {
        "input": {"mean": 0, "std_dev": 1},
        "model": {"name": "lenet"},
        "train": {"steps": 1000, "learning_rate": {"initial": 0.1}},
    }
    (variant,) = load("net", write(tmp_path, "net.json", document), AllowedPaths(tmp_path))
    assert (variant.quantize.steps, variant.quantize.quant_delay) == (200, 0)
    assert variant.quantize.learning_rate is not None
    assert variant.quantize.learning_rate.initial == pytest.approx(0.01)


def test_variant_that_changes_the_method_leaves_the_other_one_s_fields_behind(tmp_path: Path) -> None:
    document = {
        "input": {"mean": 0, "std_dev": 1}, "model": {"name": "lenet"},
        "train": {"steps": 10, "learning_rate": {"initial": 0.1}},
        "quantize": {"scheme": "int8", "steps": 5, "quant_delay": 2, "learning_rate": {"initial": 0.1}},
        "variants": {
            "qat": {},
            "ptq": {"quantize": {"method": "ptq", "calibration": {"range": "percentile"}}},
            "same": {"quantize": {"method": "qat"}},
        },
    }  # fmt: skip
    qat, ptq, same = load("net", write(tmp_path, "net.json", document), AllowedPaths(tmp_path))
    assert qat.quantize == same.quantize
    assert (ptq.quantize.scheme, ptq.quantize.steps, ptq.quantize.quant_delay) == ("int8", None, 0)
    assert ptq.quantize.calibration == model.Calibration(None, "percentile", 99.99)


def test_overrides_keep_their_order_and_lose_their_nulls(tmp_path: Path) -> None:
    document = {
        "input": {"mean": 0, "std_dev": 1}, "model": {"name": "lenet"},
        "train": {"steps": 10, "learning_rate": {"initial": 0.1}},
        "quantize": {"overrides": [{"layer": "conv*", "range": [0, 6], "bits": None}, {"layer": "fc3", "float": True}]},
    }  # fmt: skip
    (variant,) = load("net", write(tmp_path, "net.json", document), AllowedPaths(tmp_path))
    assert variant.quantize.overrides == (model.Override("conv*", (0.0, 6.0)), model.Override("fc3", float=True))


def test_ptq_of_given_weights_needs_no_train(tmp_path: Path) -> None:
    document = {
        "input": {"mean": 0, "std_dev": 1}, "model": {"name": "lenet", "weights": "w.ckpt"},
        "quantize": {"method": "ptq"},
    }  # fmt: skip
    (variant,) = load("net", write(tmp_path, "net.json", document), AllowedPaths(tmp_path))
    assert (variant.train.steps, variant.quantize.learning_rate) == (0, None)


def test_the_guides_own_scheme_is_expressible(tmp_path: Path) -> None:
    document = {
        "input": {"mean": 121, "std_dev": 64}, "model": {"name": "cifarnet"},
        "train": {"steps": 100_000, "learning_rate": {"initial": 0.1}},
        "quantize": {"start": "scratch", "quant_delay": 90_000},
    }  # fmt: skip
    (variant,) = load("guide", write(tmp_path, "guide.json", document), AllowedPaths(tmp_path))
    assert (variant.quantize.steps, variant.quantize.quant_delay) == (100_000, 90_000)
