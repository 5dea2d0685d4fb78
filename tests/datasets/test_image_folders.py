"""A folder for each class, with or without splits, or pictures alone; an error names any other file."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qatbuild.exchange.dataset_facts import DatasetFacts
from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import datasets
from qatbuild.worker.datasets import pictures
from qatbuild.worker.stages import dataset
from tests.datasets import conftest
from tests.datasets.conftest import MakeRequest, column
from tests.hints import follows


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
        picture(tmp_path / "pictures" / f"{name}.png", value)
    return tmp_path / "pictures"


def load(folder: Path, **fields: Any) -> datasets.Dataset:
    return conftest.load("images", folder, **fields)


def fault(folder: Path, file: Path, **fields: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        load(folder, **fields)
    assert str(file) in str(caught.value)
    return str(caught.value)


def read(
    make_request: MakeRequest, folder: Path, split: str = "train", **fields: Any
) -> tuple[DatasetFacts, np.ndarray]:
    request = make_request("images", folder, **{"validation": 0, **fields})
    facts = dataset.run(request)
    return facts, column(request, facts, split, "images")


def test_classes_and_files_are_sorted_by_name(make_request: MakeRequest, folder: Path) -> None:
    request = make_request("images", folder, validation=0)
    facts = dataset.run(request)
    train, test = (column(request, facts, split, "images") for split in ("train", "test"))
    assert facts.columns["labels"].class_names == ("cat", "dog")
    assert train.shape == (3, 3, 4, 3)
    assert train[:, 0, 0, 0].tolist() == [10, 11, 20]
    assert test[:, 2, 3, 2].tolist() == [110, 120]
    assert column(request, facts, "train", "labels").tolist() == [0, 0, 1]
    assert column(request, facts, "test", "labels").dtype == np.int32


def test_grey_pictures_have_one_channel(make_request: MakeRequest, tmp_path: Path) -> None:
    for split in ("train", "test"):
        picture(tmp_path / "p" / split / "only" / "a.png", 77, mode="L")
    _, images = read(make_request, tmp_path / "p")
    assert images.tolist() == np.full((1, 3, 4, 1), 77).tolist()


def test_jpeg_is_read_and_hidden_files_are_passed_over(make_request: MakeRequest, folder: Path) -> None:
    picture(folder / "train" / "cat" / "c.JPG", 200)
    (folder / "train" / "cat" / ".DS_Store").write_bytes(b"")
    (folder / "train" / ".cache").mkdir()
    _, images = read(make_request, folder)
    assert len(images) == 4
    assert abs(int(images[2, 0, 0, 0]) - 200) <= 2


def test_pictures_of_two_sizes_are_taken_with_the_size_that_the_hint_asks_for(
    make_request: MakeRequest, folder: Path
) -> None:
    text = fault(folder, picture(folder / "test" / "dog" / "wide.png", size=(5, 3)))
    assert re.search("3x4 +5 pictures", text)
    assert re.search("3x5 +1 pictures", text)
    assert follows('Give "size": [height, width], to which they are scaled') in text.replace("\n        ", " ")
    facts, images = read(make_request, folder, "test", size=[3, 4])
    assert images.shape == (3, 3, 4, 3)
    assert facts.conversions == {"resized (crop)": 1}
    assert "1 resized (crop)" in facts.notes[-1]


def test_damaged_header_and_foreign_file_are_named_or_left_out(make_request: MakeRequest, folder: Path) -> None:
    (folder / "train" / "cat" / "b.png").write_bytes(b"<html>")
    (folder / "test" / "cat" / "notes.txt").write_text("no picture")
    assert ".png, .jpg, .jpeg, .bmp" in fault(folder, folder / "test" / "cat" / "notes.txt")
    (folder / "test" / "cat" / "notes.txt").rename(folder / "test" / "cat" / "notes.bmp")
    text = fault(folder, folder / "train" / "cat" / "b.png")
    assert follows('give "skip_damaged": true to leave such pictures out') in text.replace("\n        ", " ")
    (folder / "test" / "cat" / "notes.bmp").rename(folder / "test" / "cat" / "notes.txt")
    facts, images = read(make_request, folder, skip_damaged=True)
    assert images[:, 0, 0, 0].tolist() == [10, 20]
    assert facts.counts == {"train": 2, "validation": 0, "test": 2}
    assert facts.class_counts["labels"]["train"] == [1, 1]
    assert "left out as damaged: 2 pictures" in facts.notes[-1]
    assert "(train/cat/b.png, test/cat/notes.txt)" in facts.notes[-1]


@pytest.mark.parametrize("skip", [False, True])
def test_picture_that_is_damaged_behind_its_header_is_found_when_it_is_decoded(
    make_request: MakeRequest, folder: Path, skip: bool
) -> None:
    file = folder / "train" / "cat" / "a.png"
    file.write_bytes(file.read_bytes()[:50])
    if skip:
        _, images = read(make_request, folder, skip_damaged=True)
        assert images[:, 0, 0, 0].tolist() == [11, 20]
    else:
        with pytest.raises(DatasetError, match=str(file)):
            read(make_request, folder)


def test_no_split_is_left_empty_by_damage(make_request: MakeRequest, folder: Path) -> None:
    for file in (folder / "test").rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DatasetError, match="left for the test"):
        read(make_request, folder, skip_damaged=True)
    for file in folder.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DatasetError, match="All pictures are damaged"):
        read(make_request, folder, skip_damaged=True)


def test_decompression_bomb_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures.pillow().Image, "MAX_IMAGE_PIXELS", 5)
    assert "decompression bomb" in fault(folder, folder / "train" / "cat" / "a.png")


def test_file_among_the_classes_is_named(folder: Path) -> None:
    assert "among the classes" in fault(folder, picture(folder / "train" / "stray.png"))


def test_missing_training_folder_is_named(folder: Path) -> None:
    (folder / "train").rename(folder / "elsewhere")
    assert "the folder is missing" in fault(folder, folder / "train")


def test_without_folders_of_splits_a_fraction_is_the_test(make_request: MakeRequest, folder: Path) -> None:
    facts, _ = read(make_request, folder / "train", test=0.4)
    assert facts.counts == {"train": 2, "validation": 0, "test": 1}
    assert facts.columns["labels"].class_names == ("cat", "dog")


@pytest.mark.parametrize("name", ["validation", "val", "valid"])
def test_a_validation_folder_is_taken(make_request: MakeRequest, folder: Path, name: str) -> None:
    picture(folder / name / "dog" / "v.png", 99)
    facts, images = read(make_request, folder, "validation", validation=0.5)
    assert images[:, 0, 0, 0].tolist() == [99]
    assert facts.counts == {"train": 3, "validation": 1, "test": 2}


def test_splits_have_the_folders_that_the_spec_names(make_request: MakeRequest, folder: Path) -> None:
    (folder / "train").rename(folder / "Training")
    (folder / "test").rename(folder / "held")
    names = {"train": "Training", "test": "held"}
    facts, _ = read(make_request, folder, splits=names)
    assert facts.counts == {"train": 3, "validation": 0, "test": 2}
    assert "the folder is missing" in fault(folder, folder / "absent", splits={**names, "validation": "absent"})


def test_pictures_alone_need_no_classes(make_request: MakeRequest, folder: Path) -> None:
    picture(folder / "train" / "beside.png", 5)
    facts, images = read(make_request, folder, labels=False)
    assert sorted(facts.columns) == ["images"]
    assert sorted(images[:, 0, 0, 0].tolist()) == [5, 10, 11, 20]
    _, images = read(make_request, folder / "train" / "cat", labels=False, test=0.5)
    assert len(images) == 1
    empty = folder.parent / "none"
    empty.mkdir()
    assert "no picture" in fault(empty, empty, labels=False)


def test_class_without_pictures_is_named(folder: Path) -> None:
    (folder / "train" / "bird").mkdir()
    assert "no pictures" in fault(folder, folder / "train" / "bird")


def test_test_class_without_training_images_is_named(folder: Path) -> None:
    picture(folder / "test" / "cow" / "a.png")
    assert "one of cat, dog" in fault(folder, folder / "test" / "cow")


def test_missing_pillow_is_an_error_with_a_hint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.pillow.cache_clear()
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(DatasetError) as caught:
        load(folder)
    assert caught.value.hint == "pip install pillow"
