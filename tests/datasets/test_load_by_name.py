"""Datasets are found by name, and only the one that is named is imported."""

from __future__ import annotations

import gzip
import hashlib
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import datasets
from qatbuild.worker.datasets import idx
from tests.datasets.conftest import Server, load
from tests.hints import follows


def test_editing_one_kind_leaves_the_others_alone_for_it_is_not_imported() -> None:
    code = (
        "import sys; from pathlib import Path; from qatbuild.worker import datasets\n"
        "datasets.load(datasets.source.Source('digits'), Path('never-used'))\n"
        "rooms = {name for name in datasets.NAMES if f'qatbuild.worker.datasets.{name}' in sys.modules}\n"
        "print(rooms, 'PIL' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "{'digits'} False"


@pytest.mark.parametrize("name", ["imagenet", "download", "__init__", "digits.evil", ""])
def test_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(DatasetError, match="digits, cifar10, idx, npz, images, tfrecord"):
        load(name)


@pytest.mark.parametrize("name", ["cifar10", "idx", "npz", "images", "tfrecord"])
def test_missing_path_is_named_with_a_hint(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        load(name, tmp_path / "absent")
    assert str(tmp_path / "absent") in str(caught.value)
    assert 'correct "path"' in caught.value.hint


def arrays(path: Path) -> Path:
    """Arrays as the hint says to write them."""
    images, labels = np.zeros((4, 3, 2), np.uint8), np.array([0, 1, 0, 1])
    np.savez(path, train_images=images, train_labels=labels, test_images=images[..., None], test_labels=labels,
             class_names=np.array(["a", "b"]))  # fmt: skip
    return path


def pictures(path: Path) -> Path:
    for name in ("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.jpg"):
        (path / name).parent.mkdir(parents=True)
        Image.new("RGB", (4, 3)).save(path / name)
    return path


def four_files(path: Path) -> Path:
    path.mkdir()
    for name in idx.SHA256:
        sizes = (2, 3, 3) if "images" in name else (2,)
        content = bytes([0, 0, 8, len(sizes)]) + np.array(sizes, ">u4").tobytes() + bytes(math.prod(sizes))
        zipped = name.startswith("t10k")
        (path / f"{name}.gz" if zipped else path / name).write_bytes(gzip.compress(content) if zipped else content)
    return path


ZEROS = "0" * 64
FOLLOWED: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("npz", {"path": "absent"}, follows('Put the data there or correct "path" (it is relative to the'), {}),
    ("images", {"path": "pictures", "sha256": ZEROS}, follows('Leave "sha256" out: the build notices changes'), {}),
    ("npz", {"path": "data.npz", "sha256": ZEROS}, follows('correct "sha256" if this file is the one you mean'),
     {"sha256": "its own"}),
    ("digits", {"path": "data.npz"}, follows('Leave these fields out, or use the dataset "idx"'), {"path": None}),
    ("idx", {"sha256": ZEROS}, follows("for the four files have checksums of their own; for another set give"), {}),
    ("idx", {"path": "data.npz"}, follows("The folder needs the four files "), {}),
    ("images", {"path": "empty"}, follows("Lay the pictures out as train/<class>/*.png and test/<class>/*.png"), {}),
    ("images", {}, follows('Give "path": it cannot be downloaded'), {}),
    ("npz", {"path": "empty.npz"}, follows("Write it with numpy.savez(file, train_images=..., train_labels=...,"), {}),
    ("npz", {}, follows('Give "path", or "url" and "sha256" together'), {}),
]  # fmt: skip
PLACES = {"npz": "data.npz", "images": "pictures", "idx": "files", "digits": None}


@pytest.mark.parametrize(("name", "fields", "hint", "changes"), FOLLOWED, ids=[row[2] for row in FOLLOWED])
def test_data_that_follow_the_hint_are_read(
    name: str, fields: dict[str, Any], hint: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    arrays(tmp_path / "data.npz")
    pictures(tmp_path / "pictures")
    four_files(tmp_path / "files")
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "empty.npz")

    def read(path: str | None = None, sha256: str | None = None) -> datasets.Dataset:
        return load(name, None if path is None else tmp_path / path, sha256=sha256)

    with pytest.raises(DatasetError) as caught:
        read(**fields)
    assert hint in caught.value.hint
    followed = {"path": PLACES[name], **changes}
    if followed.get("sha256"):
        followed["sha256"] = hashlib.sha256((tmp_path / "data.npz").read_bytes()).hexdigest()
    assert read(**followed).count("train")


def test_data_are_fetched_from_the_url_with_their_checksum(server: Server, tmp_path: Path) -> None:
    content = arrays(tmp_path / "data.npz").read_bytes()
    server.files["/data.npz"] = content
    digest = hashlib.sha256(content).hexdigest()
    assert load("npz", None, tmp_path / "new", url=f"{server.url}/data.npz", sha256=digest).count("train")


def test_checksum_for_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is for one file"):
        load("images", tmp_path, sha256="0" * 64)


@pytest.mark.parametrize("name", ["npz", "images", "tfrecord"])
def test_data_of_the_users_own_without_a_path_ask_for_it(name: str) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.path +missing") as caught:
        load(name)
    assert 'Give "path"' in caught.value.hint
