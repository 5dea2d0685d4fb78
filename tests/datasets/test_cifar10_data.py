"""CIFAR-10 is read from the official layout in any archive; another layout is an error that names the difference."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import datasets
from tests.datasets import conftest
from tests.datasets.conftest import CifarArchive, pack, rows, unread
from tests.hints import follows


def load(path: Path, sha256: str | None = None) -> datasets.Dataset:
    return conftest.load("cifar10", path, sha256=sha256)


def fault(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_archive_of_any_compression_is_read(ending: str, cifar_archive: CifarArchive) -> None:
    data = load(cifar_archive(ending))
    assert (data.count("train"), data.count("test")) == (50_000, 10_000)
    for split in data.splits:
        images, labels = (unread(data, split, name) for name in ("images", "labels"))
        assert (str(images.dtype), images.shape) == ("uint8", (32, 32, 3))
        assert (str(labels.dtype), labels.shape) == ("int32", ())
    assert data.class_names["labels"][3] == "cat"
    assert len(data.class_names["labels"]) == 10


def test_planar_channels_become_the_last_axis_and_batches_keep_their_order(cifar_archive: CifarArchive) -> None:
    data = load(cifar_archive("tar"))
    images, tested = unread(data, "train", "images"), rows(data, "test", "images")
    assert images.read(np.array([20_000, 0]))[:, 5, 7].tolist() == [[1, 2, 102], [1, 2, 100]]
    assert tested[9_999, 5, 7].tolist() == [1, 2, 105]
    assert np.count_nonzero(tested) == 3 * 10_000
    assert rows(data, "train", "labels")[10_000:10_003].tolist() == [1, 2, 3]
    assert rows(data, "test", "labels")[:3].tolist() == [5, 6, 7]


def test_compression_is_recognised_by_content_not_by_name(tmp_path: Path, cifar_archive: CifarArchive) -> None:
    renamed = tmp_path / "data.bin"
    renamed.symlink_to(cifar_archive("tar.xz"))
    assert len(rows(load(renamed), "train", "labels")) == 50_000


def test_unpacked_folder_and_its_parent_are_read(tmp_path: Path, cifar_members: dict[str, bytes]) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, content in cifar_members.items():
        (folder / name).write_bytes(content)
    (folder / "readme.html").write_text("as in the official archive")
    for place in (folder, tmp_path):
        images = unread(load(place), "train", "images")
        assert images.read(np.array([49_999]))[0, 5, 7].tolist() == [1, 2, 104]


def test_nothing_is_unpacked_to_the_disk(tmp_path: Path, cifar_archive: CifarArchive) -> None:
    (tmp_path / "a.tar").symlink_to(cifar_archive("tar"))
    load(tmp_path / "a.tar")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tar"]


def test_missing_member_is_named_with_the_present_ones(tmp_path: Path, cifar_members: dict[str, bytes]) -> None:
    members = {name: cifar_members[name] for name in cifar_members if name != "data_batch_4.bin"}
    text = fault(pack(tmp_path / "five.tar", members))
    assert "missing" in text
    assert "member    data_batch_4.bin" in text
    assert "only data_batch_1.bin, data_batch_2.bin" in text


def test_python_version_of_the_archive_is_refused(tmp_path: Path, cifar_archive: CifarArchive) -> None:
    text = fault(pack(tmp_path / "cifar-10-python.tar.gz", {"data_batch_1": b"pickle", "test_batch": b""}, "w:gz"))
    assert "only data_batch_1, test_batch" in text
    assert f"hint: {follows('Use the binary version of CIFAR-10')}" in text
    assert load(cifar_archive("tar")).count("train") == 50_000


@pytest.mark.parametrize("lacking_bytes", [1, -1, 3073])
def test_member_of_another_size_is_named_with_both_sizes(
    tmp_path: Path, cifar_members: dict[str, bytes], lacking_bytes: int
) -> None:
    content = (cifar_members["test_batch.bin"] + b"\0")[: 30_730_000 - lacking_bytes]
    text = fault(pack(tmp_path / "short.tar", {"test_batch.bin": content}))
    assert "test_batch.bin" in text
    assert f"found     {30_730_000 - lacking_bytes:,} bytes" in text
    assert "expected  30,730,000 bytes" in text


def test_label_above_nine_is_named_with_its_image(tmp_path: Path, cifar_members: dict[str, bytes]) -> None:
    content = bytearray(cifar_members["data_batch_2.bin"])
    content[3073 * 77] = 10
    text = fault(pack(tmp_path / "labels.tar", {**cifar_members, "data_batch_2.bin": bytes(content)}))
    assert "data_batch_2.bin" in text
    assert "image 77 has the label 10" in text


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_truncated_archive_names_file_member_and_expected_size(
    ending: str, tmp_path: Path, cifar_archive: CifarArchive
) -> None:
    whole = cifar_archive(ending).read_bytes()
    truncated = tmp_path / f"truncated.{ending}"
    truncated.write_bytes(whole[: len(whole) // 2])
    text = fault(truncated)
    assert "data_batch_" in text
    assert "expected  30,730,000 bytes" in text


@pytest.mark.parametrize("ending", ["tar.gz", "tar.bz2", "tar.xz"])
def test_flipped_bits_in_a_compressed_stream_are_an_error(
    ending: str, tmp_path: Path, cifar_archive: CifarArchive
) -> None:
    content = bytearray(cifar_archive(ending).read_bytes())
    content[len(content) // 3] ^= 0xFF
    corrupted = tmp_path / f"corrupted.{ending}"
    corrupted.write_bytes(content)
    assert "expected  30,730,000 bytes" in fault(corrupted)


def test_gzip_checksum_is_verified_though_all_members_were_read(tmp_path: Path, cifar_archive: CifarArchive) -> None:
    # Padding behind the last member, as tape-minded tools write it, lies between the reader and the checksum.
    content = bytearray(gzip.compress(cifar_archive("tar").read_bytes() + bytes(5 << 20), 1))
    content[-8] ^= 0xFF
    corrupted = tmp_path / "crc.tar.gz"
    corrupted.write_bytes(content)
    assert "CRC check failed" in fault(corrupted)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"<html>404 Not Found</html>\n" * 100, "invalid header"),
        (gzip.compress(b"no tar in here" * 1000), "invalid header"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "zstandard"),
    ],
    ids=["empty", "text", "gzip of no tar", "zstandard"],
)
def test_file_that_is_no_readable_archive_is_an_error(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(content)
    text = fault(path)
    assert "damaged, or not a tar archive" in text
    assert reason in text


def test_folder_without_the_members_lists_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"")
    text = fault(tmp_path)
    assert "test_batch.bin" in text
    assert "only cifar-10-binary.tar.gz" in text


def test_given_archive_is_bound_by_the_checksum_of_the_spec_alone(cifar_archive: CifarArchive) -> None:
    with pytest.raises(DatasetError, match=r"sha256 wanted +" + "0" * 64):
        load(cifar_archive("tar"), sha256="0" * 64)
