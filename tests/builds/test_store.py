"""Results are restored, not built again: after going back to an earlier spec, and after a loss."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.builds.conftest import ToyProject


@pytest.fixture
def stored(toy: ToyProject) -> ToyProject:
    """The toy project with the default store."""
    (toy.root / "pyproject.toml").unlink()
    return toy


def blobs(store: Path) -> list[Path]:
    return [path for path in store.glob("blobs/*/*") if path.is_file()]


def contents(toy: ToyProject) -> dict[str, bytes]:
    """Every artifact and manifest of the label by its path."""
    return {
        path.relative_to(toy.root).as_posix(): path.read_bytes()
        for path in (toy.root / "build").rglob("*")
        if path.suffix in {".tflite", ".pb", ".index", ".npz"} or path.name.endswith("manifest.json")
    }


@pytest.mark.parametrize("fields", [{"evaluate": {"min_top1": 50}}, {"input": {"mean": 121, "std_dev": 32}}])
def test_going_back_to_an_earlier_spec_runs_nothing(stored: ToyProject, fields: dict[str, Any]) -> None:
    stored.built()
    before = contents(stored)
    stored.spec("net", **fields)
    assert stored.built() != []
    stored.spec("net")
    done = stored.doit()
    assert stored.runs() == []
    assert contents(stored).items() >= before.items()
    assert "<  net:evaluate: " in done.stdout
    assert "(restored)" in done.stdout
    assert "restored, " in done.stdout.splitlines()[-1]
    assert stored.doit().stdout.startswith("8 up to date")


def test_going_back_to_earlier_data_and_code_runs_nothing(stored: ToyProject) -> None:
    network = stored.root / "nets.py"
    network.write_text("def build(images, classes, *, training):\n    return 1\n")
    stored.spec("net", model={"call": "nets:build"})
    stored.built()
    network.write_text("def build(images, classes, *, training):\n    return 2\n")
    (stored.root / "specs/data.bin").write_text("others")
    assert "float" in stored.built()
    network.write_text("def build(images, classes, *, training):\n    return 1\n")
    (stored.root / "specs/data.bin").write_text("pixels")
    assert stored.built() == []


def test_lost_artifacts_come_back(stored: ToyProject) -> None:
    stored.built()
    before = contents(stored)
    for name in ("frozen_graph.pb", "export.manifest.json", "model.tflite", "report.json"):
        (stored.root / "build/net" / name).unlink()
    assert stored.built() == []
    assert contents(stored) == before
    assert (stored.root / "build/net/report.json").is_file()


def test_a_lost_build_folder_comes_back_with_its_report_and_events(stored: ToyProject) -> None:
    store = stored.root / "kept"
    (stored.root / "pyproject.toml").write_text('[tool.qatbuild]\nstore = "kept"\n')
    stored.built()
    report = (stored.root / "build/net/report.json").read_bytes()
    shutil.rmtree(stored.root / "build")
    assert stored.built() == []
    assert (stored.root / "build/net/report.json").read_bytes() == report
    assert [path.read_text() for path in stored.root.glob("build/shared/float-*/events/log")] == ["float events"]
    assert blobs(store)


def test_a_damaged_blob_is_detected_and_its_stage_runs_again(stored: ToyProject) -> None:
    stored.built()
    whole = (stored.root / "build/net/model.tflite").read_bytes()
    for path in blobs(stored.root / "build/.store"):
        if path.read_bytes() == whole:
            path.write_bytes(b"?" + whole[1:])  # The artifact too, where it is the same file.
    (stored.root / "build/net/model.tflite").unlink()
    assert stored.built() == ["convert"]
    assert (stored.root / "build/net/model.tflite").read_bytes() == whole
    (stored.root / "build/net/model.tflite").unlink()
    assert stored.built() == []


def test_a_broken_entry_is_ignored(stored: ToyProject) -> None:
    stored.built()
    for path in (stored.root / "build/.store").glob("index/*/*.json"):
        path.write_text('{"manifest": "{}"}')
    (stored.root / "build/net/model.tflite").unlink()
    assert stored.built() == ["convert"]


def test_a_checkout_restores_results_of_another_one(stored: ToyProject) -> None:
    (stored.root / "pyproject.toml").write_text('[tool.qatbuild]\nstore = "../shared-store"\n')
    other = ToyProject(stored.root.with_name("other"))
    shutil.copytree(stored.root, other.root)
    stored.built()
    assert other.built() == []
    assert (other.root / "build/net/model.tflite").is_file()


def test_cleaned_stages_run_again(stored: ToyProject) -> None:
    stored.built()
    assert stored.doit("clean", "net").returncode == 0
    assert "convert" in stored.built()


def test_a_project_can_switch_the_store_off(stored: ToyProject) -> None:
    (stored.root / "pyproject.toml").write_text("[tool.qatbuild]\nstore = false\n")
    stored.built()
    assert not (stored.root / "build/.store").exists()
    (stored.root / "build/net/model.tflite").unlink()
    assert stored.built() == ["convert"]


def test_a_store_that_cannot_be_written_fails_no_build(stored: ToyProject) -> None:
    (stored.root / "kept").write_text("in the way")
    (stored.root / "pyproject.toml").write_text('[tool.qatbuild]\nstore = "kept"\n')
    done = stored.doit()
    assert done.returncode == 0
    assert "cannot be kept in the store" in done.stderr
    assert stored.doit().stdout.startswith("8 up to date")


def test_a_build_leaves_no_draft_and_gc_removes_those_of_killed_ones(stored: ToyProject) -> None:
    stored.built()
    store = stored.root / "build/.store"
    assert not list(store.glob("draft-*"))
    (store / "draft-1").write_text("half a blob")
    (store / "draft-2").mkdir()
    stored.spec("net", train={"steps": 11, "learning_rate": {"initial": 0.1}})
    stored.built()
    assert stored.doit("gc", "--age", "0").returncode == 0
    assert not list(store.glob("draft-*"))


def test_two_builds_at_once_restore_each_stage_once(stored: ToyProject) -> None:
    stored.built()
    before = contents(stored)
    for path in (stored.root / "build/net").iterdir():
        path.unlink()
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: stored.doit(), range(2)))
    assert [build.returncode for build in done] == [0, 0]
    assert stored.runs() == []
    assert contents(stored) == before


def test_nothing_stale_opens_no_store(stored: ToyProject) -> None:
    stored.built()
    (stored.root / "build/.store").rename(stored.root / "away")
    assert stored.doit().stdout.startswith("8 up to date")
    assert not (stored.root / "build/.store").exists()


def test_the_plan_lists_stages_that_will_be_restored(stored: ToyProject) -> None:
    stored.built()
    stored.spec("net", input={"mean": 121, "std_dev": 32})
    stored.built()
    stored.spec("net")
    planned = stored.doit("plan").stdout
    assert "restore  net:evaluate: " in planned
    assert "run " not in planned
    assert stored.built() == []
