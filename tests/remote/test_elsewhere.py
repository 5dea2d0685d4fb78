"""A clone takes from the cache what its labels need; datasets and checkpoints stay there until a stage needs them."""

from __future__ import annotations

import shutil

from tests.remote.conftest import Team, label_files, large_files

LARGE = ["images.npy", "model.ckpt-1.index", "model.ckpt-1.index"]


def test_a_fresh_clone_restores_a_model_byte_for_byte_and_runs_nothing(team: Team) -> None:
    assert len(team.first.built()) == 8
    clone = team.clone()
    done = clone.doit()
    assert done.returncode == 0, done.stderr
    assert clone.runs() == []
    assert label_files(clone) == label_files(team.first)
    assert "8 restored" in done.stdout
    assert done.stderr == ""


def test_no_dataset_and_no_checkpoint_travels_and_the_build_is_up_to_date(team: Team) -> None:
    team.first.built()
    clone = team.clone()
    assert clone.built() == []
    assert large_files(clone) == []
    shutil.rmtree(team.cache)  # Nothing more is asked for.
    assert clone.doit().stdout.startswith("8 up to date")
    (clone.root / "build/.qatbuild/record").unlink()
    done = clone.doit()
    assert done.stdout.startswith("8 up to date")
    assert done.stderr == ""


def test_a_stage_that_needs_a_checkpoint_fetches_it(team: Team) -> None:
    team.first.built()
    clone = team.clone()
    assert clone.built() == []
    clone.spec("net", convert={"checkpoint": 4})
    assert "freeze" in clone.built()
    assert large_files(clone) == LARGE
    assert (clone.shared("float") / "events/log").read_text() == "float events"
    assert clone.doit().stdout.startswith("8 up to date")


def test_without_the_cache_a_stage_that_needs_a_checkpoint_has_it_trained_again(team: Team) -> None:
    team.first.built()
    clone = team.clone()
    assert clone.built() == []
    shutil.rmtree(team.cache)
    clone.spec("net", convert={"checkpoint": 4})
    done = clone.doit()
    assert done.returncode == 0
    assert done.stderr.count("was built again: the cache does not have its artifacts any more") == 3
    assert clone.runs() == ["dataset", "float", "quantize", "freeze", "convert", "evaluate"]
    assert large_files(clone) == LARGE
    assert clone.doit().stdout.startswith("8 up to date")


def test_artifacts_all_fetches_everything(team: Team) -> None:
    team.first.built()
    clone = team.clone()
    assert clone.built() == []
    done = clone.doit("run", "--artifacts", "all")
    assert "3 restored" in done.stdout
    assert "its artifacts are in the cache only (restored)" in done.stdout
    assert large_files(clone) == LARGE
    assert clone.runs() == []
    other = team.clone("other")
    assert "8 restored" in other.doit("run", "--artifacts", "all").stdout
    assert large_files(other) == LARGE


def test_explain_gc_and_clean_work_with_artifacts_elsewhere(team: Team) -> None:
    team.first.built()
    clone = team.clone()
    assert clone.built() == []
    assert "up to date" in clone.doit("explain", "net:freeze").stdout
    assert clone.doit("gc", "--age", "0").returncode == 0
    assert clone.doit().stdout.startswith("8 up to date")
    assert clone.doit("clean", "net").returncode == 0
    assert "4 restored, 4 up to date" in clone.doit().stdout


def test_an_edited_file_in_the_place_of_one_that_is_elsewhere_is_noticed(team: Team) -> None:
    team.first.built()
    clone = team.clone()
    assert clone.built() == []
    (clone.shared("float") / "model.ckpt-1.index").write_text("not the checkpoint")
    done = clone.doit()
    assert "model.ckpt-1.index" in done.stdout
    assert clone.runs() == []
    assert large_files(clone) == []
    assert clone.doit().stdout.startswith("8 up to date")


def test_a_record_cannot_be_edited_to_say_that_artifacts_are_elsewhere(team: Team) -> None:
    team.first.built()
    folder = team.first.shared("float")
    record = folder / "float.request.json"
    record.write_text(record.read_text().replace('"seal"', '"elsewhere": true,\n "seal"'))
    (folder / "model.ckpt-1.index").unlink()
    assert "float.manifest.json: does not belong to float.request.json" in team.first.doit().stdout
    assert (folder / "model.ckpt-1.index").is_file()
