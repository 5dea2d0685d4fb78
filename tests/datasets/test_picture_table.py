"""A CSV file of names and classes stands for folders; an error names the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.stages import dataset
from tests.datasets.conftest import MakeRequest, column, load
from tests.datasets.test_image_folders import picture
from tests.hints import follows

ROWS = ["name,label,split", 'a.png,"cat, wild",train', "sub/b.png,bird,train", "c.png,bird,val", "d.png,bird,test"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("a", "sub/b", "c", "d")):
        picture(tmp_path / "p" / f"{name}.png", 10 * number)
    (tmp_path / "p" / "labels.csv").write_text("\n".join(ROWS))
    return tmp_path / "p"


def test_classes_are_sorted_and_pictures_keep_the_order_of_the_table(make_request: MakeRequest, folder: Path) -> None:
    request = make_request("images", folder, table="labels.csv")
    facts = dataset.run(request)
    assert facts.columns["labels"].class_names == ("bird", "cat, wild")
    assert facts.counts == {"train": 2, "validation": 1, "test": 1}
    assert column(request, facts, "train", "images")[:, 0, 0, 0].tolist() == [0, 10]
    assert column(request, facts, "train", "labels").tolist() == [1, 0]


def test_a_spreadsheets_mark_line_ends_and_capitals_are_taken(make_request: MakeRequest, folder: Path) -> None:
    (folder / "labels.csv").write_bytes("\ufeffName,LABEL\r\na.png, bär\r\nc.png,bär\r\nd.png,bär\r\n".encode())
    facts = dataset.run(make_request("images", folder, table="labels.csv", test=0.4, validation=0))
    assert facts.columns["labels"].class_names == ("bär",)
    assert facts.counts == {"train": 2, "validation": 0, "test": 1}


def test_without_labels_names_alone_suffice(folder: Path) -> None:
    (folder / "labels.csv").write_text("name\na.png\nc.png\n")
    data = load("images", folder, table="labels.csv", labels=False)
    assert {split: list(columns) for split, columns in data.splits.items()} == {"train": ["images"]}


def test_splits_may_have_other_names(folder: Path) -> None:
    (folder / "labels.csv").write_text("\n".join(ROWS).replace(",train", ",0").replace(",test", ",1"))
    data = load("images", folder, table="labels.csv", splits={"train": "0", "test": "1"})
    assert {split: data.count(split) for split in data.splits} == {"train": 2, "validation": 1, "test": 1}


BAD: dict[str, tuple[str | bytes, str, str]] = {
    "no header": ("a.png,cat\n", "line +1", "header lacks name and label"),
    "empty": ("", "line +1", "an empty file"),
    "no name": ("name,label\n,cat\n", "line +2", "a name is missing"),
    "no class": ("name,label\na.png,\n", "line +2", "class of a.png is missing"),
    "short line": ("name,label\na.png\n", "line +2", "class of a.png is missing"),
    "missing file": ("name,label\na.png,x\n\ngone.png,x\n", "line +4", "gone.png"),
    "beside the folder": ("name,label\n../a.png,x\n", "line +2", "not in dataset.path"),
    "somewhere else": ("name,label\n/a.png,x\n", "line +2", "not in dataset.path"),
    "twice": ("name,label\na.png,x\nc.png,x\na.png,y\n", "line +4", "also in line 2"),
    "split": ("name,label,split\na.png,x,holdout\n", "line +2", "'holdout', and not one of"),
    "class of the test alone": ("name,label,split\na.png,x,train\nc.png,y,test\n", "line +3", "no training pictures"),
    "test alone": ("name,label,split\na.png,x,test\n", "line", "no training pictures"),
    "no picture": ("name,label\nlabels.csv,x\n", "labels.csv", "it is not a picture"),
    "other encoding": (b"name,label\na.png,b\xe4r\n", "table", "UTF-8"),
    "open quote": ('name,label\na.png,"x\n', "table", "CSV"),
}


@pytest.mark.parametrize("case", BAD)
def test_line_that_cannot_be_used_is_named(folder: Path, case: str) -> None:
    content, place, reason = BAD[case]
    (folder / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=f"(?s){place}") as caught:
        load("images", folder, table="labels.csv")
    assert reason in " ".join(str(caught.value).split())


def test_a_table_that_follows_the_hint_is_read(folder: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        load("images", folder, table="absent.csv")
    assert "it does not exist; its path is relative to the spec" in caught.value.message
    assert follows("Write a header name,label or name,label,split, then a line for each picture") in caught.value.hint
    assert load("images", folder, table="labels.csv").count("train") == 2
