"""Scratch folders that one stage leaves empty serve the next."""

from __future__ import annotations

from pathlib import Path

from qatbuild.engine.scratch import Scratch


def used(work: Path) -> Path:
    (work / "out").mkdir(parents=True)
    return work


def test_an_empty_folder_moves_to_the_next_stage_and_is_removed_at_the_end(tmp_path: Path) -> None:
    scratch = Scratch()
    first, second = used(tmp_path / "a/float-1"), tmp_path / "b/float-2"
    scratch.give_back(first, keep=True)
    scratch.take(second)
    assert (second / "out").is_dir()
    assert not first.exists()
    scratch.give_back(second, keep=True)
    scratch.remove()
    assert not second.exists()


def test_what_a_killed_build_left_stays_for_the_stage_that_resumes(tmp_path: Path) -> None:
    scratch = Scratch()
    scratch.give_back(used(tmp_path / "a"), keep=True)
    (used(tmp_path / "b") / "resume").write_text("step 5")
    scratch.take(tmp_path / "b")
    assert (tmp_path / "b/resume").read_text() == "step 5"
    assert not (tmp_path / "a").exists()


def test_a_folder_with_files_is_removed_and_one_that_another_build_may_need_is_not_kept(tmp_path: Path) -> None:
    scratch = Scratch()
    (used(tmp_path / "a") / "log").touch()
    scratch.give_back(tmp_path / "a", keep=True)
    scratch.give_back(used(tmp_path / "b"), keep=False)
    scratch.take(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []
