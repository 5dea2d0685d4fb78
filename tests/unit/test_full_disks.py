"""Failing writes, on a full or read-only disk, cost no more than they must. A file stands for the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from qatbuild.engine.build_lock import BuildLock
from qatbuild.report.failures import Failure, update


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """A folder in which no file can be made, not even by root."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file"


def test_lock_that_cannot_be_taken_is_not_held_and_gives_the_others_back(unwritable: Path, tmp_path: Path) -> None:
    lock = BuildLock(tmp_path / "a" / "lock", unwritable / "lock")
    with pytest.raises(OSError, match="file"):
        lock.take()
    assert not lock.is_held
    other = BuildLock(tmp_path / "a" / "lock")
    assert other.take() is False  # It was not waited for.
    other.give_back()


def test_failures_that_cannot_be_written_are_still_returned(unwritable: Path) -> None:
    failure = Failure("net", "convert", "refused")
    assert failure in update(unwritable / "failures.json", [failure], []).values()
