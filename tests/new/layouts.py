"""More data as people have them: how pictures lie in folders, tables, archives, arrays of other kinds."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from qatbuild.worker.datasets import cifar10
from tests.hints import follows
from tests.new.people import Refusal, a_table, again, arrays, folders, idx, picture

PAIR: Mapping[str, int] = {"cats": 8, "dogs": 8}
FEW = 3
"""Examples in a file of a small CIFAR-10."""


def training_and_testing(root: Path) -> Path:
    for split in ("Training", "testing"):
        folders(root / split, PAIR)
    return root


def an_unpacked_archive(root: Path) -> Path:
    folders(root / "pets-v2", PAIR)
    (root / "__MACOSX").mkdir()
    (root / ".DS_Store").write_bytes(b"")
    (root / "pets-v2/cats/.DS_Store").write_bytes(b"")
    return root


def one_of_four_idx_files(root: Path) -> Path:
    for file in list(idx(root).iterdir()):
        Path(f"{file}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    return root / "train-images-idx3-ubyte.gz"


def a_folder_with_arrays(root: Path) -> Path:
    return arrays(root).parent


def a_table_with_quotes(root: Path) -> Path:
    folders(root / "photos", {"cats": 2})
    lines = [f'"cats/{number}.png","a ""small"" one, {number}"' for number in range(2)]
    (root / "labels.csv").write_text("\n".join(['"name","label"', *lines]))
    return root / "labels.csv"


def spaces_and_umlauts(root: Path) -> Path:
    return folders(root / "Meine Bilder (größte) 100%", PAIR)


def linked_classes(root: Path) -> Path:
    root.mkdir()
    elsewhere = folders(root.parent / "elsewhere", PAIR)
    for name in PAIR:
        (root / name).symlink_to(elsewhere / name)
    return root


def write_protected(root: Path) -> Path:
    for folder in [*folders(root, PAIR).iterdir(), root]:
        folder.chmod(0o555)
    return root


def cifar(root: Path, patch: pytest.MonkeyPatch) -> Path:
    """An archive like CIFAR-10's, of few images in each file."""
    patch.setattr(cifar10, "IMAGES_PER_MEMBER", FEW)
    patch.setattr(cifar10, "MEMBER_BYTES", FEW * cifar10.ROW_BYTES)
    (root / cifar10.FOLDER).mkdir(parents=True)
    rows = np.random.default_rng(1).integers(0, 256, (FEW, cifar10.ROW_BYTES), np.uint8)
    rows[:, 0] = np.arange(FEW)
    for name in cifar10.MEMBERS:
        (root / cifar10.FOLDER / name).write_bytes(rows.tobytes())
    with tarfile.open(root / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(root / cifar10.FOLDER, cifar10.FOLDER)
    return root / "cifar-10-binary.tar.gz"


class Taken(NamedTuple):
    """Data that get a spec, and fields of its `dataset` that tell how."""

    make: Callable[[Path], Path]
    dataset: dict[str, Any]


TAKEN = (
    Taken(training_and_testing, {"splits": {"train": "Training", "test": "testing"}}),
    Taken(an_unpacked_archive, {"path": "../data/pets-v2"}),
    Taken(one_of_four_idx_files, {"name": "idx", "path": "../data"}),
    Taken(a_folder_with_arrays, {"name": "npz", "path": "../data/data.npz"}),
    Taken(a_table_with_quotes, {"path": "../data/photos", "table": "../data/labels.csv"}),
    Taken(spaces_and_umlauts, {"path": "../data/Meine Bilder (größte) 100%"}),
    Taken(linked_classes, {"name": "images", "path": "../data"}),
    Taken(write_protected, {"name": "images", "path": "../data"}),
)


def thumbnails(root: Path) -> Path:
    (folders(root, PAIR) / "Thumbs.db").write_bytes(b"")
    return root


def a_lost_link(root: Path) -> Path:
    (folders(root, PAIR) / "cats/lost.png").symlink_to("nowhere.png")
    return root


def classes_in_classes(root: Path) -> Path:
    folders(root / "dogs", {"poodle": 4})
    return folders(root, {"cats": 4, "dogs": 4})


def pictures_without_folders(root: Path) -> Path:
    root.mkdir()
    for number in range(8):
        picture(number).save(root / f"{'cat' if number % 2 else 'dog'}.{number}.png")
    return root


def an_empty_class(root: Path) -> Path:
    (folders(root, PAIR) / "birds").mkdir()
    return root


def photographs_of_a_phone(root: Path) -> Path:
    for name in PAIR:
        (root / name).mkdir(parents=True)
        (root / name / "IMG_0001.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    return root


def semicolons(root: Path) -> Path:
    table = a_table(root)
    table.write_text(table.read_text().replace(",", ";"))
    return table


def another_encoding(root: Path) -> Path:
    table = a_table(root)
    table.write_bytes(table.read_text().replace("cat", "Kätzchen").encode("latin-1"))
    return table


def tables_of_numbers(root: Path) -> Path:
    root.mkdir()
    for name in ("train.csv", "test.csv"):
        (root / name).write_text("sepal,petal,species\n5.1,0.2,setosa\n")
    return root


def a_table_of_numbers(root: Path) -> Path:
    return tables_of_numbers(root) / "train.csv"


def whole_one_hot(root: Path) -> Path:
    rows = np.eye(3, dtype=np.int64)[np.arange(50) % 3]
    return arrays(root, train_labels=rows[:40], test_labels=rows[40:])


def a_column_of_labels(root: Path) -> Path:
    labels = (np.arange(50) % 3)[:, None]
    return arrays(root, train_labels=labels[:40], test_labels=labels[40:])


def texts(root: Path, dtype: str = "U3") -> Path:
    names = np.array(["cat", "dog"] * 25, dtype)
    return arrays(root, train_labels=names[:40], test_labels=names[40:])


def objects(root: Path) -> Path:
    return texts(root, "O")


def a_pipe(root: Path) -> Path:
    root.mkdir()
    os.mkfifo(root / "data.npz")
    return root / "data.npz"


def _numbered(path: Path) -> Path:
    labels = np.array(["cat", "dog"] * 25)
    class_names, numbers = np.unique(labels.astype(str), return_inverse=True)
    shutil.rmtree(path.parent)
    return arrays(path.parent, train_labels=numbers[:40], test_labels=numbers[40:], class_names=class_names)


def _without(*names: str) -> Callable[[Path], Path]:
    def removed(path: Path) -> Path:
        for place in (path / name for name in names):
            place.rmdir() if place.is_dir() else place.unlink()
        return path

    return removed


def _moved_up(path: Path) -> Path:
    for file in (path / "dogs/poodle").iterdir():
        file.rename(path / "dogs" / f"poodle-{file.name}")
    return _without("dogs/poodle")(path)


def _listed(path: Path) -> Path:
    names = sorted(file.name for file in path.iterdir())
    (path / "labels.csv").write_text("\n".join(["name,label", *(f"{name},{name[:3]}" for name in names)]))
    return path / "labels.csv"


def _with_commas(path: Path) -> Path:
    path.write_text(path.read_text().replace(";", ","))
    return path


def _in_utf8(path: Path) -> Path:
    path.write_text(path.read_text(encoding="latin-1"), encoding="utf-8")
    return path


_MENDED = again(arrays)
REFUSED = (
    Refusal(thumbnails, "an operating system left", follows("remove it, no picture is lost"), _without("Thumbs.db")),
    Refusal(a_lost_link, "A link leads nowhere", follows("remove the link"), _without("cats/lost.png")),
    Refusal(classes_in_classes, "A class holds a folder", follows("Move the pictures of"), _moved_up),
    Refusal(pictures_without_folders, "outside the folders", follows("give a CSV file with the header"), _listed),
    Refusal(an_empty_class, "A class has no pictures", follows("remove the empty folder"), _without("birds")),
    Refusal(
        photographs_of_a_phone, "files *.heic", follows("Save them as JPEG or PNG"), lambda path: folders(path, PAIR)
    ),
    Refusal(semicolons, "not separated by commas", follows("save it again, with commas"), _with_commas),
    Refusal(another_encoding, "not in UTF-8", follows("save it again, in UTF-8"), _in_utf8),
    Refusal(tables_of_numbers, "several data sets", follows("Give one of them: a table"), _MENDED),
    Refusal(whole_one_hot, "found int32 [n, 3]", follows("Each row has one 1: save classes"), _MENDED),
    Refusal(a_column_of_labels, "found int32 [n, 1]", follows("if a row is one class"), _MENDED),
    Refusal(texts, "The labels are texts", follows("class_names, numbers = numpy.unique"), _numbered),
    Refusal(objects, "The labels are texts", "class_names, numbers = numpy.unique", _numbered),
    Refusal(a_pipe, "neither a file nor a folder", "an .npz file of arrays", _MENDED),
)
