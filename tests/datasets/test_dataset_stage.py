"""The stage `dataset`: files of three splits, equal bytes for equal data, and facts about the training images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qatbuild.exchange.dataset_facts import Statistics
from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.files import file_sha256
from qatbuild.worker.datasets import holdout
from qatbuild.worker.stages import dataset
from tests.datasets.conftest import MakeRequest, column


@pytest.fixture
def coloured(tmp_path: Path) -> Path:
    """60 random training and 20 test images of 5x4x3, three classes."""
    random = np.random.default_rng(7)
    path = tmp_path / "coloured.npz"
    np.savez(
        path,
        train_images=random.integers(0, 256, (60, 5, 4, 3), np.uint8),
        train_labels=np.arange(60) % 3,
        test_images=random.integers(0, 256, (20, 5, 4, 3), np.uint8),
        test_labels=np.arange(20) % 3,
    )
    return path


def digests(folder: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): file_sha256(file) for file in folder.rglob("*.*")}


def test_two_runs_leave_identical_bytes_and_facts(make_request: MakeRequest) -> None:
    requests = [make_request("digits"), make_request("digits")]
    facts = [dataset.run(request) for request in requests]
    assert facts[0] == facts[1]
    first, second = (digests(request.out) for request in requests)
    assert first == second


def test_only_a_file_for_each_column_and_split_is_left_for_publishing(make_request: MakeRequest) -> None:
    request = make_request("digits")
    dataset.run(request)
    columns = ("images.npy", "labels.npy")
    assert set(digests(request.out)) == {f"{split}/{name}" for split in holdout.SPLITS for name in columns}


def test_splits_have_the_promised_names_types_and_shapes(make_request: MakeRequest) -> None:
    request = make_request("digits")
    facts = dataset.run(request)
    for split, count in (("train", 1293), ("validation", 144), ("test", 360)):
        images, labels = (column(request, facts, split, name) for name in ("images", "labels"))
        assert (str(images.dtype), images.shape) == ("uint8", (count, 8, 8, 1))
        assert (str(labels.dtype), labels.shape) == ("int32", (count,))


def test_facts_count_images_per_split_and_class(make_request: MakeRequest, coloured: Path) -> None:
    facts = dataset.run(make_request("npz", coloured, validation=0.25)).to_json()
    assert facts["columns"]["images"]["shape"] == [5, 4, 3]
    assert facts["columns"]["labels"]["class_names"] == ["0", "1", "2"]
    assert facts["counts"] == {"train": 45, "validation": 15, "test": 20}
    assert facts["class_counts"]["labels"]["test"] == [7, 7, 6]
    assert [sum(facts["class_counts"]["labels"][split]) for split in ("train", "validation")] == [45, 15]
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_mean_and_std_are_of_the_remaining_training_images_in_bytes(make_request: MakeRequest, coloured: Path) -> None:
    request = make_request("npz", coloured, validation=0.5)
    facts = dataset.run(request)
    images = column(request, facts, "train", "images").astype(np.float64)
    statistics = facts.columns["images"].statistics
    assert isinstance(statistics, Statistics)
    assert statistics.mean == tuple(np.round(images.mean((0, 1, 2)), 4).tolist())
    assert statistics.std == tuple(np.round(images.std((0, 1, 2)), 4).tolist())
    assert (statistics.mean_all, statistics.std_all) == (round(images.mean(), 4), round(images.std(), 4))


def test_constant_images_have_no_deviation(make_request: MakeRequest, tmp_path: Path) -> None:
    images, labels = np.full((2500, 2, 2), 255, np.uint8), np.zeros(2500, int)
    np.savez(tmp_path / "white.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    facts = dataset.run(make_request("npz", tmp_path / "white.npz"))
    assert facts.columns["images"].statistics == Statistics((255.0,), (0.0,), 255.0, 0.0)


@pytest.mark.parametrize("validation", [0, 0.1, 0.29, 0.5])
def test_held_out_images_leave_training_and_both_keep_their_order(
    make_request: MakeRequest, tmp_path: Path, validation: float
) -> None:
    numbered = np.arange(200, dtype=np.uint8).reshape(200, 1, 1)
    labels = np.zeros(200, np.uint8)
    np.savez(tmp_path / "n.npz", train_images=numbered, train_labels=labels, test_images=numbered, test_labels=labels)
    request = make_request("npz", tmp_path / "n.npz", validation=validation)
    facts = dataset.run(request)
    train, held = (column(request, facts, split, "images").reshape(-1) for split in ("train", "validation"))
    assert len(held) == round(200 * validation)
    assert sorted([*train, *held]) == list(range(200))
    assert (np.diff(train.astype(int)) > 0).all()
    assert (np.diff(held.astype(int)) > 0).all()


def test_larger_fraction_holds_out_the_same_images_and_more(make_request: MakeRequest, coloured: Path) -> None:
    held = []
    for validation in (0.1, 0.3):
        request = make_request("npz", coloured, validation=validation)
        facts = dataset.run(request)
        held.append({image.tobytes() for image in column(request, facts, "validation", "images")})
    assert held[0] < held[1]


@pytest.mark.parametrize("validation", [-0.1, 0.51, float("nan")])
def test_fraction_out_of_range_is_refused(make_request: MakeRequest, validation: float) -> None:
    with pytest.raises(DatasetError, match=r"0\.\.0\.5"):
        dataset.run(make_request("digits", validation=validation))


def test_facts_and_file_do_not_depend_on_where_the_data_lie(
    make_request: MakeRequest, coloured: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere" / "renamed.npz"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(coloured.read_bytes())
    requests = [make_request("npz", coloured), make_request("npz", elsewhere)]
    assert dataset.run(requests[0]) == dataset.run(requests[1])
    assert digests(requests[0].out) == digests(requests[1].out)


def test_missing_data_are_named_and_nothing_is_written(make_request: MakeRequest, tmp_path: Path) -> None:
    request = make_request("cifar10", tmp_path / "nowhere.tar.gz")
    with pytest.raises(DatasetError, match=r"nowhere\.tar\.gz"):
        dataset.run(request)
    assert list(request.out.iterdir()) == []


def test_full_disk_is_an_error_with_the_room_that_is_needed(make_request: MakeRequest) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full on this system")
    request = make_request("digits")
    (request.out / "train").mkdir()
    (request.out / "train" / "images.npy").symlink_to("/dev/full")
    with pytest.raises(DatasetError, match="No space left") as caught:
        dataset.run(request)
    assert f"{1293 * 64:,} bytes" in str(caught.value)


@pytest.mark.slow
@pytest.mark.shared("data/cifar10")
def test_real_cifar10_has_the_known_statistics_and_needs_less_than_150_mib(
    shared_data: Path, make_request: MakeRequest, tmp_path: Path
) -> None:
    # In a process of its own, for the peak of memory is a process's.
    request = make_request("cifar10", shared_data / "cifar10" / "cifar-10-binary.tar.xz")
    (tmp_path / "request.json").write_text(request.to_json())
    code = """
import json, re, sys
from pathlib import Path
from qatbuild.exchange.request import Request
from qatbuild.worker.datasets import holdout
from qatbuild.worker.stages import dataset
facts = dataset.run(Request.from_json(Path(sys.argv[1]).read_text())).to_json()
peak_kib = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(json.dumps([facts, peak_kib]))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "request.json")]
    root = Path(__file__).resolve().parents[2]
    facts, peak_kib = json.loads(subprocess.run(command, capture_output=True, check=True, cwd=root).stdout)
    assert facts["counts"] == {"train": 45_000, "validation": 5_000, "test": 10_000}
    assert facts["class_counts"]["labels"]["test"] == [1000] * 10
    # Of all 50,000 training images: 120.7 and 64.2.
    assert facts["columns"]["images"]["statistics"]["mean_all"] == pytest.approx(120.7, abs=0.1)
    assert facts["columns"]["images"]["statistics"]["std_all"] == pytest.approx(64.2, abs=0.1)
    assert peak_kib < 150 * 1024
