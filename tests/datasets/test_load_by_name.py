"""Datasets are found by name, and only the one that is named is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import datasets


def test_editing_one_kind_leaves_the_others_alone_for_it_is_not_imported() -> None:
    code = (
        "import sys; from pathlib import Path; from qatbuild.worker import datasets\n"
        "datasets.load('digits', None, None, None, Path('never-used'))\n"
        "rooms = sorted(name for name in sys.modules if name.startswith('qatbuild.worker.datasets.'))\n"
        "print(rooms, 'PIL' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "['qatbuild.worker.datasets.digits'] False"


@pytest.mark.parametrize("name", ["imagenet", "download", "__init__", "digits.evil", ""])
def test_unknown_name_lists_the_known_ones(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="digits, cifar10, idx, npz, images"):
        datasets.load(name, None, None, None, tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "idx", "npz", "images"])
def test_missing_path_is_named_with_a_hint(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        datasets.load(name, tmp_path / "absent", None, None, tmp_path)
    assert str(tmp_path / "absent") in str(caught.value)
    assert 'correct "path"' in caught.value.hint


def test_checksum_for_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is for one file"):
        datasets.load("images", tmp_path, None, "0" * 64, tmp_path)


@pytest.mark.parametrize("name", ["npz", "images"])
def test_data_of_the_users_own_without_a_path_ask_for_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.path +missing") as caught:
        datasets.load(name, None, None, None, tmp_path)
    assert 'Give "path"' in caught.value.hint
