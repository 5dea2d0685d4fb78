"""What cannot be removed is said."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.leftovers import Leftover
from qatbuild.engine.scratch import Scratch
from qatbuild.exchange.files import remove


@pytest.fixture(params=[errno.EIO, errno.ENOSPC])
def stuck(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scratch folder with a file, and a folder that cannot be opened."""
    work = tmp_path / "work"
    (work / "out").mkdir(parents=True)
    (work / "log").write_text("left")
    opened = os.open

    def failing(path: Any, *arguments: Any, **options: Any) -> int:
        if os.fspath(path).endswith("out"):
            raise OSError(request.param, os.strerror(request.param), path)
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)
    monkeypatch.chdir(tmp_path)
    return work


def test_scratch_folder_that_cannot_be_removed_is_named(stuck: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Scratch().give_back(stuck, keep=True)
    said = capsys.readouterr().err
    assert said.startswith("work cannot be removed: ")
    assert said.rstrip().endswith(("Input/output error", "No space left on device"))
    assert [path.name for path in stuck.iterdir()] == ["out"]  # As much as possible is removed.


def test_leftover_that_cannot_be_removed_is_not_called_freed(stuck: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = stuck.parent / "other"
    other.write_text("a file")
    assert not Leftover(stuck, (stuck, other)).remove(stuck.parent)
    assert not other.exists()
    assert capsys.readouterr().err.count("cannot be removed") == 1


def test_removing_nothing_a_file_and_a_link_to_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").touch()
    (tmp_path / "link").symlink_to("folder")
    for name in ("nothing", "link"):
        assert remove(tmp_path / name)
    assert (tmp_path / "folder/file").exists()
    for name in ("folder/file", "folder"):
        assert remove(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""
