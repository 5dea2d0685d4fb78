"""IDX files are accepted if magic number, sizes and length agree; otherwise the error names the file."""

from __future__ import annotations

import errno
import gzip
import hashlib
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import datasets
from qatbuild.worker.datasets import holdout
from qatbuild.worker.datasets.source import Source
from qatbuild.worker.datasets.store import Store
from tests.datasets import conftest
from tests.datasets.conftest import Server, rows

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(values: np.ndarray) -> bytes:
    header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def write(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """12 training and 6 test images of 3x2, labels 0..3: plain files."""
    write(tmp_path, IMAGES, idx(np.arange(72).reshape(12, 3, 2)))
    write(tmp_path, LABELS, idx(np.arange(12) % 4))
    write(tmp_path, TEST_IMAGES, idx(np.arange(36).reshape(6, 3, 2)))
    write(tmp_path, TEST_LABELS, idx(np.arange(6) % 4))
    return tmp_path


def load(folder: Path) -> datasets.Dataset:
    return conftest.load("idx", folder)


def fault(folder: Path, name: str) -> str:
    with pytest.raises(DatasetError) as caught:
        load(folder)
    assert str(folder / name) in str(caught.value)
    return str(caught.value)


def test_four_files_become_two_splits_with_one_channel(folder: Path) -> None:
    data = load(folder)
    assert rows(data, "train", "images").shape == (12, 3, 2, 1)
    assert rows(data, "test", "images")[1, :, :, 0].tolist() == [[6, 7], [8, 9], [10, 11]]
    assert rows(data, "test", "labels").tolist() == [0, 1, 2, 3, 0, 1]
    assert rows(data, "test", "labels").dtype == np.int32
    assert data.class_names["labels"] == ("0", "1", "2", "3")


def test_compressed_and_dotted_names_are_taken(folder: Path) -> None:
    for name in (IMAGES, TEST_LABELS):
        (folder / f"{name.replace('-idx', '.idx')}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    (folder / LABELS).rename(folder / LABELS.replace("-idx", ".idx"))
    assert rows(load(folder), "train", "images").shape == (12, 3, 2, 1)


def test_missing_file_is_named_with_its_spellings(folder: Path) -> None:
    (folder / TEST_LABELS).unlink()
    text = fault(folder, "")
    assert "t10k-labels-idx1-ubyte is missing" in text
    assert "t10k-labels.idx1-ubyte.gz" in text


def test_file_in_place_of_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(DatasetError, match="not a folder"):
        load(folder / IMAGES)


@pytest.mark.parametrize(
    ("content", "first_bytes"),
    [
        (b"", "an empty file"),
        (b"<html>\n404", "3c 68 74 6d"),
        (idx(np.zeros(12)), "00 00 08 01"),
        (bytes([0, 0, 0x0D, 3]) + bytes(100), "00 00 0d 03"),
    ],
    ids=["empty", "text", "labels", "floats"],
)
def test_wrong_magic_number_is_shown_beside_the_wanted_one(folder: Path, content: bytes, first_bytes: str) -> None:
    write(folder, IMAGES, content)
    text = fault(folder, IMAGES)
    assert f"found     {first_bytes}" in text
    assert "expected  00 00 08 03" in text


@pytest.mark.parametrize(
    ("change_bytes", "message"), [(-1, "found     87 bytes"), (1, "found     more"), (5000, "found     more")]
)
def test_length_that_contradicts_the_header_is_an_error(folder: Path, change_bytes: int, message: str) -> None:
    content = (folder / IMAGES).read_bytes()
    write(folder, IMAGES, (content + bytes(5000))[: len(content) + change_bytes])
    text = fault(folder, IMAGES)
    assert message in text
    assert "88 bytes for the sizes (12, 3, 2)" in text


def test_header_that_claims_petabytes_is_an_error_and_not_allocated(folder: Path) -> None:
    write(folder, IMAGES, struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3) + bytes(10))
    assert "found     26 bytes" in fault(folder, IMAGES)


def peak_bytes(folder: Path, count: int) -> int:
    """The most memory that reading `count` compressed training images of 28x28 takes, with their statistics."""
    images, labels = np.zeros((count, 28, 28), np.uint8), np.arange(count) % 10
    for split, kept in ((("train", count)), ("t10k", 10)):
        write(folder, f"{split}-images-idx3-ubyte.gz", idx(images[:kept]))
        write(folder, f"{split}-labels-idx1-ubyte.gz", idx(labels[:kept]))
    tracemalloc.start()
    data = conftest.load("idx", folder, folder)
    store = Store(folder / "out", data)
    for split, part in holdout.parts(data, Source("idx"))[0].items():
        store.write(split, part)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    few, many = (peak_bytes(tmp_path, count) for count in (12_000, 36_000))
    assert many < 1.05 * few


def test_a_disk_without_room_for_unpacked_images_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress((folder / IMAGES).read_bytes()))
    (folder / IMAGES).unlink()
    monkeypatch.setattr("os.pwrite", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(DatasetError, match="No space left") as caught:
        load(folder)
    assert "needed  72 bytes" in str(caught.value)


def test_a_folder_for_unpacked_images_that_cannot_be_made_is_an_error(folder: Path) -> None:
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress((folder / IMAGES).read_bytes()))
    (folder / IMAGES).unlink()
    with pytest.raises(DatasetError, match="cannot be written"):
        conftest.load("idx", folder, folder / LABELS / "downloads")


def test_file_that_ends_in_its_header_is_an_error(folder: Path) -> None:
    write(folder, LABELS, bytes([0, 0, 8, 1, 0]))
    assert "ends within its header" in fault(folder, LABELS)


def test_empty_set_is_an_error(folder: Path) -> None:
    write(folder, TEST_IMAGES, idx(np.zeros((0, 3, 2))))
    assert "declared empty" in fault(folder, TEST_IMAGES)


@pytest.mark.parametrize("damage", ["truncated", "corrupted", "not gzip"])
def test_damaged_gzip_is_named(folder: Path, damage: str) -> None:
    content = bytearray(gzip.compress((folder / IMAGES).read_bytes()))
    if damage == "truncated":
        content = content[:-12]
    elif damage == "corrupted":
        content[-6] ^= 0xFF
    else:
        content = bytearray(b"plain text")
    (folder / IMAGES).unlink()
    (folder / f"{IMAGES}.gz").write_bytes(content)
    assert "damaged or truncated" in fault(folder, f"{IMAGES}.gz")


def test_images_and_labels_must_be_as_many(folder: Path) -> None:
    write(folder, LABELS, idx(np.zeros(11)))
    text = fault(folder, LABELS)
    assert "11 labels" in text
    assert f"12, one for each image in {IMAGES}" in text


def test_test_images_must_have_the_size_of_training_images(folder: Path) -> None:
    write(folder, TEST_IMAGES, idx(np.zeros((6, 2, 3))))
    text = fault(folder, TEST_IMAGES)
    assert "found     2x3" in text
    assert "expected  3x2" in text


def test_class_without_training_images_is_noted(folder: Path) -> None:
    write(folder, LABELS, idx(np.arange(12) % 3 + 1))
    assert load(folder).notes == ("classes without training images: 0",)


def test_mirror_is_bound_by_the_pinned_checksums(server: Server, tmp_path: Path) -> None:
    server.files["/mnist/train-images-idx3-ubyte.gz"] = content = gzip.compress(b"forged")
    with pytest.raises(DatasetError, match=hashlib.sha256(content).hexdigest()):
        conftest.load("idx", None, tmp_path, url=f"{server.url}/mnist/")


def test_one_checksum_for_four_files_is_refused() -> None:
    with pytest.raises(DatasetError, match="four files"):
        conftest.load("idx", sha256="0" * 64)


@pytest.mark.shared("data/mnist")
def test_real_mnist_is_read(shared_data: Path) -> None:
    data = load(shared_data / "mnist")
    assert rows(data, "train", "images").shape == (60_000, 28, 28, 1)
    assert rows(data, "test", "images").shape == (10_000, 28, 28, 1)
    assert rows(data, "train", "labels")[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.class_names["labels"] == tuple("0123456789")
