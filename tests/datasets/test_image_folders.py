"""A folder for each class: pictures of one size and colour mode, and an error that names any other file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import datasets


def picture(path: Path, value: int = 0, mode: str = "RGB", size: tuple[int, int] = (4, 3)) -> Path:
    """A picture of one brightness; size is width, height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes: cat (brightness 10, 11) and dog (20) for training; one of each for the test."""
    for name, value in (
        ("train/dog/a", 20),
        ("train/cat/b", 11),
        ("train/cat/a", 10),
        ("test/dog/x", 120),
        ("test/cat/x", 110),
    ):
        picture(tmp_path / f"{name}.png", value)
    return tmp_path


def load(folder: Path) -> datasets.Dataset:
    return datasets.load("images", folder, None, None, folder)


def fault(folder: Path, file: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        load(folder)
    assert str(file) in str(caught.value)
    return str(caught.value)


def test_classes_and_files_are_sorted_by_name(folder: Path) -> None:
    data = load(folder)
    assert data.class_names == ("cat", "dog")
    assert data.train_images.shape == (3, 3, 4, 3)
    assert data.train_images[:, 0, 0, 0].tolist() == [10, 11, 20]
    assert data.train_labels.tolist() == [0, 0, 1]
    assert data.test_images[:, 2, 3, 2].tolist() == [110, 120]
    assert data.test_labels.dtype == np.int32


def test_grey_pictures_have_one_channel(tmp_path: Path) -> None:
    for split in ("train", "test"):
        picture(tmp_path / split / "only" / "a.png", 77, mode="L")
    assert load(tmp_path).train_images.tolist() == np.full((1, 3, 4, 1), 77).tolist()


def test_jpeg_is_read_and_hidden_files_are_passed_over(folder: Path) -> None:
    picture(folder / "train" / "cat" / "c.JPG", 200)
    (folder / "train" / "cat" / ".DS_Store").write_bytes(b"")
    (folder / "train" / ".cache").mkdir()
    images = load(folder).train_images
    assert len(images) == 4
    assert abs(int(images[2, 0, 0, 0]) - 200) <= 2


def test_picture_of_another_size_is_named_with_both_sizes(folder: Path) -> None:
    text = fault(folder, picture(folder / "test" / "dog" / "wide.png", size=(5, 3)))
    assert "found     3x5x3" in text
    assert "expected  3x4x3" in text


def test_grey_picture_among_coloured_ones_is_named(folder: Path) -> None:
    assert "3x4x1" in fault(folder, picture(folder / "train" / "dog" / "grey.png", mode="L"))


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "I;16", "1"])
def test_colour_mode_that_would_be_changed_by_reading_is_refused(folder: Path, mode: str) -> None:
    text = fault(folder, picture(folder / "train" / "cat" / "0.png", mode=mode))
    assert "8-bit grey (L) or RGB" in text


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_damaged_picture_is_named(folder: Path, damage: str) -> None:
    file = folder / "test" / "cat" / "x.png"
    file.write_bytes({"truncated": file.read_bytes()[:50], "text": b"<html>", "empty": b""}[damage])
    assert "damaged, or not a picture" in fault(folder, file)


def test_file_of_another_kind_is_named_and_not_left_out(folder: Path) -> None:
    file = folder / "train" / "dog" / "d.bmp"
    file.write_bytes(b"BM")
    assert ".png, .jpg, .jpeg" in fault(folder, file)


def test_file_among_the_classes_is_named(folder: Path) -> None:
    assert "among the classes" in fault(folder, picture(folder / "train" / "stray.png"))


@pytest.mark.parametrize("split", ["train", "test"])
def test_missing_split_is_named(folder: Path, split: str) -> None:
    (folder / split).rename(folder / "elsewhere")
    assert "the folder is missing" in fault(folder, folder / split)


def test_class_without_pictures_is_named(folder: Path) -> None:
    (folder / "train" / "bird").mkdir()
    assert "no pictures" in fault(folder, folder / "train" / "bird")


def test_test_class_without_training_images_is_named(folder: Path) -> None:
    picture(folder / "test" / "cow" / "a.png")
    assert "one of cat, dog" in fault(folder, folder / "test" / "cow")


def test_missing_pillow_is_an_error_with_a_hint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(DatasetError) as caught:
        load(folder)
    assert caught.value.hint == "pip install pillow"
