"""Examples of a split: read in any order, a few at a time, from files that are as their facts say."""

from __future__ import annotations

from os import preadv as os_preadv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qatbuild.exchange.dataset_facts import Column, DatasetFacts
from qatbuild.exchange.errors import ArtifactError
from qatbuild.worker.datasets.examples import opened

COUNT = 23
ARRAYS = {
    "images": np.random.default_rng(1).integers(0, 256, (COUNT, 3, 4, 2), np.uint8),
    "boxes": np.random.default_rng(2).normal(size=(COUNT, 5)).astype(np.float32),
    "labels": np.arange(COUNT, dtype=np.int32),
}
FACTS = DatasetFacts(
    {name: Column(str(each.dtype), each.shape[1:]) for name, each in ARRAYS.items()}, {"train": COUNT}, {}, ()
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("dataset")
    (made / "train").mkdir()
    for name, each in ARRAYS.items():
        np.save(made / "train" / f"{name}.npy", each)
    return made


@settings(max_examples=50, deadline=None)
@given(index=st.lists(st.integers(0, COUNT - 1), max_size=40))
def test_rows_come_in_the_order_of_the_index_also_twice(folder: Path, index: list[int]) -> None:
    rows = opened(folder, "train", FACTS).read(np.array(index, np.int64))
    for name, each in ARRAYS.items():
        assert rows[name].dtype == each.dtype
        np.testing.assert_array_equal(rows[name], each[index])


def test_rows_that_follow_one_another_are_one_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counted(file: int, buffers: list[memoryview], at: int) -> int:
        sizes.append(len(buffers[0]))
        return os_preadv(file, buffers, at)

    monkeypatch.setattr("os.preadv", counted)
    opened(folder, "train", FACTS).read(np.array([4, 5, 6, 2, 9, 10]), ["boxes"])
    assert sizes == [3 * 20, 20, 2 * 20]


def test_a_read_that_ends_early_is_continued(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.preadv", lambda file, buffers, at: os_preadv(file, [buffers[0][:7]], at))
    rows = opened(folder, "train", FACTS).read(np.arange(COUNT))
    np.testing.assert_array_equal(rows["images"], ARRAYS["images"])


def test_batches_are_all_examples_in_order_and_of_the_wanted_columns(folder: Path) -> None:
    batches = list(opened(folder, "train", FACTS).batches(10, ["labels"]))
    assert [list(batch) for batch in batches] == [["labels"]] * 3
    assert [batch["labels"].tolist() for batch in batches] == [
        list(range(10)), list(range(10, 20)), list(range(20, COUNT)),
    ]  # fmt: skip


def test_a_sample_is_spread_over_the_whole_split(folder: Path) -> None:
    examples = opened(folder, "train", FACTS)
    assert examples.spread(3).tolist() == [0, 11, COUNT - 1]
    assert examples.spread(100).tolist() == list(range(COUNT))


def test_a_file_that_is_cut_off_is_named_when_its_missing_rows_are_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for name in ARRAYS:
        data = (folder / "train" / f"{name}.npy").read_bytes()
        (tmp_path / "train" / f"{name}.npy").write_bytes(data[:-1] if name == "boxes" else data)
    examples = opened(tmp_path, "train", FACTS)
    assert len(examples.read(np.arange(COUNT - 1))["boxes"]) == COUNT - 1
    with pytest.raises(ArtifactError, match="shorter than its array") as refused:
        examples.read(np.arange(COUNT))
    assert dict(refused.value.facts)["file"].endswith("boxes.npy")


@pytest.mark.parametrize(
    ("data", "fragment"),
    [(ARRAYS["boxes"][:, :4], "float32 [23, 4]"), (ARRAYS["boxes"].astype(np.float64), "float64 [23, 5]")],
)
def test_a_file_of_another_shape_or_type_is_refused(tmp_path: Path, data: np.ndarray, fragment: str) -> None:
    (tmp_path / "train").mkdir()
    for name, each in {**ARRAYS, "boxes": data}.items():
        np.save(tmp_path / "train" / f"{name}.npy", each)
    with pytest.raises(ArtifactError, match="not as its facts say") as refused:
        opened(tmp_path, "train", FACTS)
    assert dict(refused.value.facts)["got"] == fragment
    assert dict(refused.value.facts)["wanted"] == "float32 [23, 5]"


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "images.npy").write_bytes(b"no array")
    with pytest.raises(ArtifactError, match="cannot be read") as refused:
        opened(tmp_path, "train", FACTS)
    assert dict(refused.value.facts)["file"].endswith("images.npy")
