"""`matrix`: all combinations of some fields' values, under names that a command line can hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from qatbuild.exchange.errors import SpecError
from qatbuild.schema.load import load
from qatbuild.schema.model import Variant
from qatbuild.schema.rules import AllowedPaths

BASE: dict[str, Any] = {
    "input": {"mean": 121, "std_dev": 64},
    "model": {"name": "cifarnet"},
    "train": {"steps": 100, "learning_rate": {"initial": 0.1}},
}


def variants(folder: Path, fields: dict[str, Any], name: str = "net") -> list[Variant]:
    file = folder / f"{name}.json"
    file.write_text(json.dumps(fields if "extends" in fields else {**BASE, **fields}))
    return load(name, file, AllowedPaths(folder))


def labels(folder: Path, **matrix: Any) -> list[str]:
    return [variant.label for variant in variants(folder, {"matrix": matrix})]


def faults(folder: Path, **fields: Any) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        variants(folder, fields)
    return dict(caught.value.facts)


def test_every_combination_is_a_variant_with_its_values(tmp_path: Path) -> None:
    matrix = {"train.learning_rate.initial": [0.1, 0.05], "train.steps": [100, 200]}
    result = variants(tmp_path, {"matrix": matrix})
    assert [(each.train.learning_rate.initial, each.train.steps) for each in result] == [
        (0.1, 100),
        (0.1, 200),
        (0.05, 100),
        (0.05, 200),
    ]
    assert result[2].label == "net@initial-0.05,steps-100"


def test_appending_a_value_renames_nothing(tmp_path: Path) -> None:
    before = labels(tmp_path, **{"train.steps": [100, 200], "train.seed": [1, 2]})
    after = labels(tmp_path, **{"train.seed": [1, 2, 3], "train.steps": [100, 200, 300]})
    assert set(before) < set(after)


def test_fields_of_one_name_differ_by_their_sections(tmp_path: Path) -> None:
    rate = {"initial": 0.01}
    spec = {"quantize": {"learning_rate": rate}}
    matrix = {"train.learning_rate.initial": [0.1], "quantize.learning_rate.initial": [0.01], "train.steps": [7]}
    (variant,) = variants(tmp_path, {**spec, "matrix": matrix})
    assert variant.label == "net@quantize.learning_rate.initial-0.01,steps-7,train.learning_rate.initial-0.1"


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0, -1, 2.5, 1e-8, 1e22], ["0", "-1", "2.5", "1e-08", "1e22"]),
        ([True, False, None], ["true", "false", "null"]),
        (["a", "a b", "a/b", "a=b"], ["a", "a_b-.{6}", "a_b-.{6}", "a_b-.{6}"]),
        (["", "1", "true"], ["-.{6}", "1-.{6}", "true-.{6}"]),
        ([1, "1"], ["1", "1-.{6}"]),
        ([[1, 2], {"a": 1}], ["1_2-.{6}", "a_1-.{6}"]),
        (["x" * 300], ["x{40}-.{6}"]),
    ],
)  # fmt: skip
def test_names_hold_only_characters_for_a_command_line(tmp_path: Path, values: list[Any], texts: list[str]) -> None:
    (tmp_path / "nets.py").write_text("")
    spec = {"model": {"call": "nets:f"}, "matrix": {"model.options.x": values}}
    names = [variant.label.removeprefix("net@x-") for variant in variants(tmp_path, spec)]
    assert len(set(names)) == len(values)
    assert all(re.fullmatch("[A-Za-z0-9_.-]+", name) for name in names)
    assert all(re.fullmatch(text, name) for text, name in zip(texts, names, strict=True)), names


def test_many_fields_make_a_name_that_a_file_system_takes(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("")
    matrix = {f"model.options.a_rather_long_name_{number}": [1] for number in range(20)}
    (variant,) = variants(tmp_path, {"model": {"call": "nets:f"}, "matrix": matrix})
    assert len(variant.label) < 150


def test_variants_and_matrix_combine(tmp_path: Path) -> None:
    spec = {"variants": {"slow": {"train": {"steps": 9}}, "plain": {}}, "matrix": {"train.seed": [1, 2]}}
    result = variants(tmp_path, spec)
    assert [(each.label, each.train.steps, each.train.seed) for each in result] == [
        ("net@slow,seed-1", 9, 1),
        ("net@slow,seed-2", 9, 2),
        ("net@plain,seed-1", 100, 1),
        ("net@plain,seed-2", 100, 2),
    ]


def test_combinations_are_left_out_and_added(tmp_path: Path) -> None:
    result = labels(
        tmp_path,
        **{
            "train.steps": [100, 200],
            "train.seed": [1, 2],
            "exclude": [{"train.steps": 200, "train.seed": 2}],
            "include": [{"train.steps": 300, "train.seed": 3, "quantize.steps": 5}],
        },
    )
    assert len(result) == 4
    assert result[-1] == "net@quantize.steps-5,seed-3,train.steps-300"


def test_variants_of_a_large_matrix_are_counted_before_they_are_made(tmp_path: Path) -> None:
    patches: dict[str, Any] = {f"v{number}": {} for number in range(100)}
    with pytest.raises(SpecError, match="more than 10000 variants"):
        variants(tmp_path, {"variants": patches, "matrix": {"train.seed": list(range(101))}})


def test_a_section_may_be_a_value_and_null_removes(tmp_path: Path) -> None:
    result = variants(tmp_path, {"augment": {"pad_crop": 4}, "matrix": {"augment": [None, {"flip_left_right": True}]}})
    assert [(each.augment.pad_crop, each.augment.flip_left_right) for each in result] == [(0, False), (4, True)]


def test_a_matrix_is_inherited_and_patched(tmp_path: Path) -> None:
    base = {**BASE, "matrix": {"train.seed": [1, 2], "train.steps": [5, 6]}}
    (tmp_path / "_base.json").write_text(json.dumps(base))
    spec = {"extends": "_base.json", "matrix": {"train.steps": None, "train.seed": [3]}}
    assert [variant.label for variant in variants(tmp_path, spec)] == ["net@seed-3"]


def test_paths_in_the_matrix_of_a_base_are_relative_to_the_base(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    base = {**BASE, "dataset": {"name": "cifar10"}, "matrix": {"dataset.path": ["one.tar"]}}
    (tmp_path / "_base.json").write_text(json.dumps(base))
    (variant,) = variants(tmp_path, {"extends": "../_base.json"}, "deep/net")
    assert variant.dataset.path == str(tmp_path / "one.tar")
    assert str(tmp_path.name) not in variant.label


@pytest.mark.parametrize(
    ("matrix", "pointer", "text"),
    [
        ({"train.steps": [100, 0]}, "/matrix/train.steps/1", "must be at least 1, got 0"),
        ({"train.stepz": [1]}, "/matrix/train.stepz", 'Did you mean "steps"?'),
        ({"train.learning_rate.initial": [0.1, "x"]}, "/matrix/train.learning_rate.initial/1", "must be a number"),
        ({"trian.steps": [1]}, "/matrix/trian.steps", 'Did you mean "train"?'),
        ({"variants.a": [{}]}, "/matrix", "Write the path of a field"),
        ({"/train/steps": [1]}, "/matrix", "Write the path of a field"),
        ({"train.steps": []}, "/matrix/train.steps", "must not be empty"),
        ({"train.steps": 5}, "/matrix/train.steps", "must be a list"),
        ({"train.steps": [1, 2, 1.0]}, "/matrix/train.steps/2", "occurs twice"),
        ({"train": [{}], "train.steps": [5]}, "/matrix/train.steps", 'lies inside "train"'),
        ({"train.steps": [5], "exclude": [{"train.steps": 6}]}, "/matrix/exclude/0", "excludes nothing"),
        ({"train.steps": [5], "exclude": [{"train.steps": 5}]}, "/matrix", "leaves no combination"),
        ({"train.steps": [5], "include": [{"train.steps": 5}]}, "/matrix/include/0", 'repeats the combination "'),
        ({"include": [{"train.steps": "x"}]}, "/matrix/include/0/train.steps", "must be an integer"),
        ({}, "/matrix", "must not be empty"),
        ([], "/matrix", "must be an object"),
        ({"train.steps": list(range(200)), "train.seed": list(range(200))}, "/matrix", "more than 10000"),
    ],
)
def test_fault_is_named_with_its_place_in_the_matrix(tmp_path: Path, matrix: Any, pointer: str, text: str) -> None:
    result = faults(tmp_path, matrix=matrix)
    assert pointer in result, result
    assert text in result[pointer]


def test_a_fault_of_the_spec_is_reported_once_and_not_as_the_matrix_s(tmp_path: Path) -> None:
    result = faults(tmp_path, train={"steps": 100}, matrix={"train.steps": [1, 2]})
    assert result == {"file": str(tmp_path / "net.json"), "/train/learning_rate": "missing."}


def test_fault_in_the_matrix_of_a_base_is_shown_in_the_base(tmp_path: Path) -> None:
    (tmp_path / "_base.json").write_text(json.dumps({**BASE, "matrix": {"train.steps": [0]}}))
    assert "_base.json /matrix/train.steps/0" in faults(tmp_path, extends="_base.json")
