"""The user's own arrays: taken as they are, or refused with the array's name."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import datasets
from tests.datasets import conftest
from tests.datasets.conftest import Server, rows
from tests.hints import follows


def arrays(**changes: Any) -> dict[str, Any]:
    """Eight training and four test images of 3x2, labels 0 and 1, with changes; None leaves an array out."""
    parts = {
        "train_images": np.arange(48, dtype=np.uint8).reshape(8, 3, 2),
        "train_labels": np.arange(8) % 2,
        "test_images": np.zeros((4, 3, 2), np.uint8),
        "test_labels": np.arange(4) % 2,
        **changes,
    }
    return {name: value for name, value in parts.items() if value is not None}


def load(path: Path) -> datasets.Dataset:
    return conftest.load("npz", path)


def fault(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "own.npz"


def test_grey_images_get_a_channel_and_labels_become_int32(path: Path) -> None:
    np.savez_compressed(path, **arrays(train_labels=(np.arange(8) % 2).astype(np.uint64)))
    data = load(path)
    assert rows(data, "train", "images").shape == (8, 3, 2, 1)
    assert rows(data, "train", "images")[7, 2, 1, 0] == 47
    assert rows(data, "train", "labels").tolist() == [0, 1] * 4
    assert rows(data, "train", "labels").dtype == rows(data, "test", "labels").dtype == np.int32
    assert data.class_names["labels"] == ("0", "1")


def test_channels_and_class_names_are_taken(path: Path) -> None:
    images = np.zeros((8, 3, 2, 5), np.uint8)
    np.savez(path, **arrays(train_images=images, test_images=images[:4], class_names=np.array(["cat", "dog", "rare"])))
    data = load(path)
    assert rows(data, "train", "images").shape == (8, 3, 2, 5)
    assert data.class_names["labels"] == ("cat", "dog", "rare")


@pytest.mark.parametrize(("values", "classes"), [([[0, 0], [0, 0]], 1), ([[0, 1], [1, 0]], 2), ([[0, -1], [1, 0]], 2)])
def test_the_classes_of_objects_are_no_labels_of_places(values: list[list[int]], classes: int, path: Path) -> None:
    objects = np.tile(values, (2, 1))
    np.savez(path, train_x=np.zeros((4, 3)), test_x=np.zeros((4, 3)), train_o_classes=objects, test_o_classes=objects)
    assert len(load(path).class_names["o_classes"]) == classes


BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "missing": ({"test_labels": None}, ["test_labels", "missing", "only test_images"]),
    "nothing for training": ({"train_images": None, "train_labels": None}, ["train_images", "only test_images, test"]),
    "another type": ({"train_images": np.zeros((8, 3, 2))}, ["test_images", "uint8 [n, 3, 2, 1]", "float32 [n, 3, 2]"]),
    "flat": ({"test_images": np.zeros((4, 6), np.uint8)}, ["test_images", "uint8 [n, 6]"]),
    "no images": ({"test_images": np.zeros((0, 3, 2), np.uint8)}, ["test_images", "no size 0"]),
    "sizes": ({"test_images": np.zeros((4, 2, 3), np.uint8)}, ["test_images", "[n, 2, 3, 1]", "[n, 3, 2, 1]"]),
    "channels": ({"test_images": np.zeros((4, 3, 2, 3), np.uint8)}, ["test_images", "[n, 3, 2, 3]"]),
    "count": (
        {"train_labels": np.arange(7) % 2},
        ["train_labels", "[7]", "integers [8], one for each of train_images"],
    ),
    "one hot": ({"train_labels": np.eye(8, dtype=int)}, ["test_labels", "int32 [n]", "int32 [n, 8]"]),
    "float labels": ({"test_labels": np.zeros(4)}, ["test_labels", "float32"]),
    "not a number": ({"train_extra": np.array([0, 1, np.nan] * 3)[:8]}, ["train_extra", "nan in example 2"]),
    "infinite": ({"train_extra": np.array([[0, -np.inf]] * 8)}, ["train_extra", "-inf in example 0"]),
    "too great for float32": ({"train_extra": np.full(8, 1e300)}, ["train_extra", "1e+300 in example 0"]),
    "too great for int32": ({"train_extra": np.full((8, 2), 2**40)}, ["train_extra", f"{2**40} .. {2**40}"]),
    "extra in the test": ({"test_extra": np.zeros(4)}, ["train_extra", "only train_images, train_labels"]),
    "texts": ({"train_extra": np.array(["a"] * 8)}, ["train_extra", "<U1 [8]"]),
    "complex": ({"train_extra": np.zeros(8, complex)}, ["train_extra", "complex128 [8]"]),
    "single value": ({"train_extra": np.float32(3)}, ["train_extra", "float32 []"]),
    "negative": ({"train_labels": np.arange(8) - 1}, ["train_labels", "the label -1"]),
    "from one": ({"train_labels": np.arange(8) + 1}, ["train_labels", "labels 1..8", "class_names", "Save labels - 1"]),
    "huge": ({"train_labels": np.array([0, 1, 2, 3, 4, 5, 6, 2**40])}, ["train_labels", "but without 7"]),
    "unseen": ({"test_labels": np.array([0, 1, 2, 0])}, ["test_labels", "the label 2", "labels 0..1"]),
    "few names": ({"class_names": np.array(["a"])}, ["train_labels", "the label 1", "labels 0..0"]),
    "same names": ({"class_names": np.array(["a", "a"])}, ["class_names", "no two the same"]),
    "broken names": ({"class_names": np.array(["a", "b\nc"])}, ["class_names", "not one line of text", "'b\\nc'"]),
    "number names": ({"class_names": np.arange(2)}, ["class_names", "int64 [2]"]),
}


@pytest.mark.parametrize("case", BAD)
def test_array_of_another_kind_is_named_with_the_expected_kind(case: str, path: Path) -> None:
    changes, fragments = BAD[case]
    np.savez(path, **arrays(**changes))
    text = fault(path)
    assert [fragment for fragment in fragments if fragment not in text] == []


def test_labels_counted_from_one_are_taken_when_one_is_subtracted(path: Path) -> None:
    labels = {"train_labels": np.arange(8) + 1, "test_labels": np.arange(4) + 1}
    np.savez(path, **arrays(**labels))
    assert follows("Save labels - 1") in fault(path)
    np.savez(path, **arrays(**{name: each - 1 for name, each in labels.items()}))
    assert len(load(path).class_names["labels"]) == 8


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", ".hidden", "a\nb"])
def test_an_array_whose_name_is_no_name_of_a_file_is_refused(path: Path, name: str) -> None:
    np.savez(path, **arrays(**{f"train_{name}": np.zeros(8), f"test_{name}": np.zeros(4)}))
    assert "a name cannot be that of a file" in fault(path)


def test_pickled_objects_are_never_loaded(path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (path.parent / "exploded",)

    np.savez(path, allow_pickle=True, **arrays(class_names=np.array([Bomb()], object)))
    text = fault(path)
    assert "class_names" in text
    assert "allow_pickle" in text
    assert not (path.parent / "exploded").exists()


def test_file_that_is_no_npz_is_an_error(path: Path) -> None:
    for content in (b"", b"text", b"\x80\x04pickle.", b"PK\x03\x04 no zip"):
        path.write_bytes(content)
        assert "damaged, or not an .npz file" in fault(path)


def test_single_array_is_refused_as_no_archive(path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    path.write_bytes(buffer.getvalue())
    assert "one array, not an archive" in fault(path)


def test_truncated_archive_is_an_error(path: Path) -> None:
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:-30])
    assert "damaged, or not an .npz file" in fault(path)


def test_corrupted_array_is_named(path: Path) -> None:
    np.savez(path, **arrays(train_images=np.full((8, 3, 2), 0xAB, np.uint8)))
    content = bytearray(path.read_bytes())
    content[content.index(b"\xab" * 48) + 10] ^= 0xFF
    path.write_bytes(content)
    text = fault(path)
    assert "train_images" in text
    assert "Bad CRC-32" in text


def test_member_that_is_no_array_is_named(path: Path) -> None:
    np.savez(path, **arrays(test_labels=None))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("test_labels.npy", b"not NumPy's format")
    assert "test_labels" in fault(path)


def with_header(path: Path, header: bytes) -> None:
    """Writes arrays of which the test labels have another header than NumPy's."""
    np.savez(path, **arrays(test_labels=None))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "test_labels.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
        )


HEADERS = {
    "absurd": "{'descr': '<i8', 'fortran_order': False, 'shape': (1125899906842624, 1024), }\n",
    "negative": "{'descr': '<i8', 'fortran_order': False, 'shape': (-5,), }\n",
    "longer than its data": "{'descr': '<i8', 'fortran_order': False, 'shape': (9999,), }\n",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (4,), }\n",
    "no type": "{'descr': 'pixels', 'fortran_order': False, 'shape': (4,), }\n",
    "nested": "(" * 5000 + "\n",
    "unfinished": "{'descr': '<i8', 'fortran_order': (\n",
    "a call": "__import__('os').getcwd()\n",
    "nothing": "\n",
}


@pytest.mark.parametrize("header", HEADERS)
def test_array_with_a_header_that_lies_is_named(path: Path, header: str) -> None:
    with_header(path, HEADERS[header].encode())
    assert "test_labels" in fault(path)


@pytest.mark.parametrize(("field", "value", "expected"), [(6, 1, "encrypted"), (8, 99, "compression method")])
def test_member_that_is_encrypted_or_compressed_in_another_way_is_named(
    path: Path, field: int, value: int, expected: str
) -> None:
    np.savez(path, **arrays())
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", field), (b"PK\x01\x02", field + 2)):
        content[content.index(signature) + at] = value
    path.write_bytes(content)
    text = fault(path)
    assert "train_images" in text
    assert expected in text


def test_wrong_byte_anywhere_is_an_error_or_changes_nothing(path: Path) -> None:
    np.savez_compressed(path, **arrays())
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            load(path)
        except DatasetError as error:
            assert str(path) in str(error)  # noqa: PT017  Some bytes have no meaning.


def test_url_with_checksum_replaces_the_path(server: Server, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", **arrays())
    server.files["/own.npz"] = content = (tmp_path / "own.npz").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    data = conftest.load("npz", None, tmp_path / "downloads", url=f"{server.url}/own.npz", sha256=digest)
    assert len(rows(data, "train", "labels")) == 8


def test_url_without_checksum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.sha256 +missing"):
        conftest.load("npz", None, tmp_path, url="http://127.0.0.1:9/own.npz")
