"""The inputs of a network: integers as a device computes them, orders of colours, and the dataset's columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.facts import IntegerTensor
from qatbuild.exchange.scaling import RealInput, Scaling
from qatbuild.worker.inputs import NetworkInput, integer_values, raw_values, real_values
from qatbuild.worker.stages import learning
from qatbuild.worker.stages.ends import inputs_of, tasks_of
from tests.hints import follows
from tests.training.project import DIGITS, Project

REAL = NetworkInput("features", (7,), RealInput())


@pytest.mark.parametrize(
    ("dtype", "zero_point", "expected"),
    [
        ("uint8", 10, [10, 11, 9, 12, 8, 13, 0, 255]),
        ("int8", -3, [-3, -2, -4, -1, -5, 0, -128, 127]),
    ],
)
def test_reals_are_rounded_with_halves_away_from_0_and_saturate(
    dtype: str, zero_point: int, expected: list[int]
) -> None:
    reals = np.array([0.0, 0.25, -0.25, 0.75, -0.75, 1.25, -1e9, 1e9], np.float32)  # halves of a step of 0.5
    integers = REAL.integers(reals, IntegerTensor(dtype, 0.5, zero_point, (1, 8)))
    assert (integers.dtype, integers.tolist()) == (np.dtype(dtype), expected)


def test_a_real_just_below_a_half_is_not_rounded_up() -> None:
    below = np.nextafter(np.float32(0.5), np.float32(0))
    assert REAL.integers(np.array([below, -below]), IntegerTensor("int8", 1.0, 0, (1, 2))).tolist() == [0, 0]


def test_bytes_stay_the_same_bytes_and_are_128_less_as_int8() -> None:
    images = NetworkInput("images", (256,), Scaling(121, 64))
    raw = np.arange(256, dtype=np.uint8)
    assert images.integers(raw, IntegerTensor("uint8", 1 / 64, 121, (1, 256))) is raw
    signed = images.integers(raw, IntegerTensor("int8", 1 / 64, -7, (1, 256)))
    assert (str(signed.dtype), signed.tolist()) == ("int8", list(range(-128, 128)))


def test_bgr_turns_the_colours_around_before_anything_else() -> None:
    rgb = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    inputs = {"images": NetworkInput("pictures", (2, 2, 3), Scaling(4, 2, "bgr"))}
    raw = raw_values(inputs, {"pictures": rgb})
    np.testing.assert_array_equal(raw["images"], rgb[..., [2, 1, 0]])
    assert raw["images"].flags.c_contiguous
    np.testing.assert_array_equal(real_values(inputs, raw)["images"], (rgb[..., [2, 1, 0]] - 4.0) / 2)
    tensors = {"images": IntegerTensor("uint8", 0.5, 4, (1, 2, 2, 3))}
    np.testing.assert_array_equal(integer_values(inputs, raw, tensors)["images"], rgb[..., [2, 1, 0]])


def test_an_input_of_reals_takes_whole_numbers_too() -> None:
    raw = REAL.raw(np.array([[3, -4]], np.int32))
    assert raw.dtype == REAL.real(raw).dtype == np.float32
    assert raw.tolist() == [[3.0, -4.0]]


def with_columns(root: Path, inputs: dict[str, Any], outputs: dict[str, Any], **columns: np.ndarray) -> Project:
    """A project of these columns; `labels` and `kind` are classes."""
    project = Project(root, np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int32), 0)
    project.settings |= {"inputs": inputs, "outputs": outputs}
    named = {name: DIGITS for name in columns if name in {"labels", "kind"}}
    project.dataset(dict.fromkeys(("train", "validation", "test"), columns), named)
    return project


BYTES = {"mean": 0, "std_dev": 255}
CLASSES = {"task": "classification"}
IMAGES = np.zeros((4, 8, 8, 1), np.uint8)
REALS = np.zeros((4, 5), np.float32)
LABELS = np.zeros(4, np.int32)


@pytest.mark.parametrize(
    ("inputs", "outputs", "columns", "taken"),
    [
        ({"images": BYTES}, {"labels": CLASSES}, {"images": IMAGES, "labels": LABELS}, ["images", "labels"]),
        ({"x": BYTES}, {"y": CLASSES}, {"images": IMAGES, "labels": LABELS}, ["images", "labels"]),
        ({"x": BYTES}, {"kind": CLASSES}, {"picture": IMAGES, "kind": LABELS}, ["picture", "kind"]),
        ({"x": {"real": True}}, {"y": {"task": "regression"}}, {"x": REALS, "angle": REALS}, ["x", "angle"]),
        ({"x": BYTES}, {"y": {**CLASSES, "target": "kind"}}, {"picture": IMAGES, "kind": LABELS}, ["picture", "kind"]),
    ],
)
def test_a_lone_input_and_a_lone_output_take_the_lone_columns_whatever_their_names(
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    columns: dict[str, np.ndarray],
    taken: list[str],
    tmp_path: Path,
) -> None:
    request = with_columns(tmp_path, inputs, outputs, **columns).request("float", "dataset")
    ((_, each),) = inputs_of(request).items()
    ((_, task),) = tasks_of(request).items()
    assert [each.column, *task.targets] == taken
    assert each.shape == columns[each.column].shape[1:]
    assert list(learning.application(request).columns) == taken


def test_an_input_without_an_array_lists_those_of_the_dataset(tmp_path: Path) -> None:
    columns: dict[str, np.ndarray] = {"left": IMAGES, "right": IMAGES, "labels": LABELS}
    project = with_columns(tmp_path, {"middle": BYTES}, {"labels": CLASSES}, **columns)
    with pytest.raises(StageError, match="no array in the dataset") as refused:
        inputs_of(project.request("float", "dataset"))
    assert dict(refused.value.facts)["input"] == "middle"
    assert "left (uint8 [8, 8, 1])" in dict(refused.value.facts)["arrays"]
    hint = follows("Name the input after one of the dataset's arrays (")
    assert f"{hint}left, right)" in refused.value.hint
    project.settings["inputs"] = {"right": BYTES}
    assert inputs_of(project.request("float", "dataset"))["right"].column == "right"


def test_an_input_of_bytes_on_an_array_of_reals_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    project = with_columns(tmp_path, {"x": BYTES}, {"labels": CLASSES}, x=REALS, labels=LABELS)
    with pytest.raises(StageError, match="takes an array of other values") as refused:
        inputs_of(project.request("float", "dataset"))
    assert dict(refused.value.facts)["array"] == "x: float32 [5]"
    assert follows('Write "inputs": {"') + 'x": {"real": true}}; or store the array as bytes' in refused.value.hint
    project.settings["inputs"] = {"x": {"real": True}}
    assert inputs_of(project.request("float", "dataset"))["x"].scaling == RealInput()
    (tmp_path / "bytes").mkdir()
    stored = with_columns(
        tmp_path / "bytes", {"x": BYTES}, {"labels": CLASSES}, x=REALS.astype(np.uint8), labels=LABELS
    )
    assert inputs_of(stored.request("float", "dataset"))["x"].dtype == "uint8"
