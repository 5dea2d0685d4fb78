"""Arrays of any names: the columns of every task, streamed from the archive."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.dataset_facts import RealStatistics
from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets import Dataset, npz_member
from qatbuild.worker.datasets.npz_member import Member
from qatbuild.worker.stages import dataset
from tests.datasets.conftest import MakeRequest, column, load, rows
from tests.hints import follows


def columns(data: Dataset) -> dict[str, np.ndarray]:
    return {name: rows(data, "train", name) for name in data.splits["train"]}


Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write arrays of an example each, ten times for training and five times for the test."""

    def save(**arrays: Any) -> Path:
        path = tmp_path / "arrays.npz"
        repeated = {
            f"{split}_{name}": np.repeat(np.asarray(each)[np.newaxis], count, axis=0)
            for name, each in arrays.items()
            for split, count in (("train", 10), ("test", 5))
        }
        np.savez(path, **repeated)  # type: ignore[arg-type]  # A name of an array is no option.
        return path

    return save


def test_bytes_stay_and_other_numbers_become_int32_or_float32(save: Save) -> None:
    path = save(
        picture=np.zeros((2, 3), np.uint8),
        half=np.zeros(2, np.float16),
        double=np.zeros((), np.float64),
        short=np.zeros((2, 2), ">i2"),
        flag=np.zeros(3, bool),
        age=np.uint8(7),
    )
    data = load("npz", path)
    kinds = {name: (str(each.dtype), each.shape[1:]) for name, each in columns(data).items()}
    assert kinds == {
        "picture": ("uint8", (2, 3)),
        "half": ("float32", (2,)),
        "double": ("float32", ()),
        "short": ("int32", (2, 2)),
        "flag": ("int32", (3,)),
        "age": ("int32", ()),
    }


def test_a_validation_split_of_the_data_replaces_the_fraction(make_request: MakeRequest, tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", train_x=np.arange(10.0), validation_x=np.array([50.0, 51]), test_x=np.array([90.0]))
    request = make_request("npz", tmp_path / "v.npz", validation=0.5)
    facts = dataset.run(request)
    assert facts.counts == {"train": 10, "validation": 2, "test": 1}
    assert column(request, facts, "validation", "x").tolist() == [50, 51]
    assert any("validation split" in note for note in facts.notes)


def test_without_a_test_split_a_fraction_of_the_examples_is_held_out(make_request: MakeRequest, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", train_x=np.arange(100.0))
    with pytest.raises(DatasetError, match="no test split") as caught:
        dataset.run(make_request("npz", tmp_path / "t.npz"))
    assert follows('give "test": 0.2 to hold out a fifth') in caught.value.hint
    request = make_request("npz", tmp_path / "t.npz", validation=0.25, test=0.2)
    facts = dataset.run(request)
    assert facts.counts == {"train": 60, "validation": 20, "test": 20}
    whole = [column(request, facts, split, "x").tolist() for split in ("train", "validation", "test")]
    assert all(part == sorted(part) for part in whole)
    assert sorted(value for part in whole for value in part) == list(range(100))
    assert "held out" in facts.notes[0]


def test_so_few_examples_that_none_is_left_for_training_are_refused(make_request: MakeRequest, tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", train_x=np.arange(1.0))
    with pytest.raises(DatasetError, match="left for training") as caught:
        dataset.run(make_request("npz", tmp_path / "one.npz", test=0.5))
    assert follows("Give more examples, or a smaller fraction") in caught.value.hint
    np.savez(tmp_path / "three.npz", train_x=np.arange(3.0))
    assert dataset.run(make_request("npz", tmp_path / "three.npz", test=0.5)).counts["train"] == 1


CLASSES: dict[str, tuple[dict[str, Any], dict[str, tuple[str, ...]]]] = {
    "0, 1, 2 are classes": ({"train_y": np.arange(6) % 3, "test_y": np.arange(3)}, {"y": ("0", "1", "2")}),
    "numbers with a gap are not": ({"train_y": np.array([0, 1, 3]), "test_y": np.arange(1)}, {}),
    "real numbers are not": ({"train_y": np.arange(3.0), "test_y": np.arange(3.0)}, {}),
    "class_names name the lone target": (
        {"train_y": np.zeros(2, int), "test_y": np.zeros(2, int), "class_names": ["a", "b"]},
        {"y": ("a", "b")},
    ),
    "y_names name the column y": (
        {"train_y": np.zeros(2, int), "test_y": np.zeros(2, int), "y_names": ["a", "b"]},
        {"y": ("a", "b")},
    ),
    "padding with -1 is no class": ({"train_y": np.array([[0, -1], [1, 2]]), "test_y": np.array([[0, 1]])},
                                    {"y": ("0", "1", "2")}),
    "255 is an ignored pixel": ({"train_y": np.array([[[0, 1], [255, 2]]]), "test_y": np.array([[[0, 1], [1, 1]]])},
                                {"y": ("0", "1", "2")}),
    "zeros and ones have a class a place": ({"train_y": np.eye(3, dtype=int), "test_y": np.eye(3, dtype=int)},
                                            {"y": ("0", "1", "2")}),
    "anomalies are in the test alone": ({"train_labels": np.zeros(3, int), "test_labels": np.array([0, 1])},
                                        {"labels": ("0", "1")}),
}  # fmt: skip


@pytest.mark.parametrize("case", CLASSES)
def test_which_whole_numbers_are_classes(case: str, tmp_path: Path) -> None:
    arrays, wanted = CLASSES[case]
    np.savez(tmp_path / "c.npz", **arrays)
    assert load("npz", tmp_path / "c.npz").class_names == wanted


def test_classes_of_zeros_and_ones_are_counted_by_place(make_request: MakeRequest, tmp_path: Path) -> None:
    target = np.array([[1, 1, 0], [0, 1, 0]])
    np.savez(tmp_path / "m.npz", train_y=target, test_y=target[:1], y_names=["a", "b", "c"])
    facts = dataset.run(make_request("npz", tmp_path / "m.npz", validation=0))
    assert facts.class_counts == {"y": {"train": [1, 2, 0], "validation": [0, 0, 0], "test": [1, 1, 0]}}


def test_numbers_that_are_no_classes_have_statistics(make_request: MakeRequest, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", train_x=np.array([1.5, 2.5]), test_x=np.ones(1), train_y=[3, 5], test_y=[3])
    facts = dataset.run(make_request("npz", tmp_path / "s.npz", validation=0))
    assert facts.columns["x"].statistics == RealStatistics(1.5, 2.5, 2, 0.5)
    assert facts.columns["y"].statistics == RealStatistics(3, 5, 4, 1)


def test_without_labels_their_array_is_not_looked_at(tmp_path: Path) -> None:
    images = np.zeros((4, 2, 2), np.uint8)
    np.savez(tmp_path / "u.npz", train_images=images, train_labels=np.arange(4) - 9, test_images=images)
    data = load("npz", tmp_path / "u.npz", labels=False)
    assert list(data.splits["train"]) == ["images"]
    assert data.notes == ("arrays that are not read: train_labels",)
    assert data.class_names == {}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_rows_are_streamed_and_read_in_any_order(
    compression: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_member, "_BLOCK_BYTES", 100)
    values = np.arange(600, dtype=np.float64).reshape(100, 6)
    np.save(tmp_path / "x.npy", values)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", compression) as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    member = Member(tmp_path / "x.npz", "x")
    assert np.array_equal(np.concatenate(list(member.blocks())), values)
    for index in (np.arange(100), np.arange(3, 90, 7), np.array([99, 0, 50, 50, 1])):
        assert np.array_equal(member.read(index), values[index].astype(np.float32))


def test_an_array_in_fortrans_order_is_the_same_array(tmp_path: Path) -> None:
    values = np.asfortranarray(np.arange(24.0).reshape(4, 3, 2))
    np.savez(tmp_path / "f.npz", train_x=values, test_x=values)
    assert np.array_equal(rows(load("npz", tmp_path / "f.npz"), "train", "x"), values)


def test_memory_of_reading_does_not_grow_with_the_arrays(tmp_path: Path) -> None:
    # 200 MiB, of which a whole copy would be seen; in this process, whose memory is that of its largest test.
    big = np.zeros((200, 1 << 20), np.uint8)
    np.savez_compressed(tmp_path / "big.npz", train_x=big, test_x=big[:1])
    del big
    before_kib = resident_kib()
    member = Member(tmp_path / "big.npz", "train_x")
    peak_kib = max(resident_kib() for _ in member.blocks())
    assert peak_kib - before_kib < 100 * 1024


def resident_kib() -> int:
    match = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1])
