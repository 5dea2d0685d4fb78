"""`doit gc` removes old and excess results, and never what a present spec or another checkout needs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.builds.conftest import DODO, SPEC, ToyProject
from tests.hints import follows


@pytest.fixture
def former(toy: ToyProject) -> ToyProject:
    """A project with its store that was built with two specs, and then again after an edit of the first."""
    (toy.root / "pyproject.toml").unlink()
    toy.spec("other", quantize={"steps": 7})
    toy.built()
    toy.spec("net", input={"mean": 121, "std_dev": 32})
    toy.built()
    return toy


def collected(toy: ToyProject, *arguments: str) -> Any:
    done = toy.doit("gc", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_young_results_stay(former: ToyProject) -> None:
    assert collected(former) == {"leftovers": [], "results": []}


def test_a_dry_run_removes_nothing(former: ToyProject) -> None:
    before = files(former.root / "build")
    done = former.doit("gc", "--dry-run", "--age", "0")
    assert "would free  build/shared/quantize-" in done.stdout
    assert "would free 1 leftovers and" in done.stdout
    assert files(former.root / "build") == before


def test_results_that_specs_need_stay(former: ToyProject) -> None:
    gone = collected(former, "--age", "0")
    assert [Path(each["path"]).name.partition("-")[0] for each in gone["leftovers"]] == ["quantize"]
    assert {each["stage"] for each in gone["results"]} == {"quantize", "freeze", "convert", "evaluate"}
    assert former.built() == []
    for name in ("net/model.tflite", "other/model.tflite"):
        (former.root / "build" / name).unlink()
    assert former.built() == []
    assert collected(former, "--age", "0") == {"leftovers": [], "results": []}


def test_going_back_after_gc_builds_again(former: ToyProject) -> None:
    collected(former, "--age", "0")
    former.spec("net")
    assert "quantize" in former.built("net")


def test_only_results_without_recent_use_are_removed(former: ToyProject) -> None:
    for path in (former.root / "build/.store/index").glob("*/*.json"):
        if json.loads(json.loads(path.read_text())["manifest"])["stage"] == "convert":
            os.utime(path, (1, 1))
    assert {each["stage"] for each in collected(former)["results"]} == {"convert"}


def test_too_large_a_store_loses_its_oldest_results(former: ToyProject) -> None:
    assert collected(former, "--size", "1")["results"] == []
    gone = collected(former, "--size", "0")["results"]
    assert len(gone) == 4
    assert former.built() == []


def test_stages_of_a_former_spec_are_removed_and_files_of_the_user_stay(former: ToyProject) -> None:
    (former.root / "specs/other.json").unlink()
    (former.root / "build/other/notes.txt").write_text("mine")
    collected(former, "--age", "0")
    assert files(former.root / "build/other") == {"notes.txt"}
    assert (former.root / "build/net/model.tflite").is_file()
    assert former.built() == []


def test_scratch_folders_of_abandoned_requests_go_and_the_current_one_stays(former: ToyProject) -> None:
    def begun() -> list[str]:
        return sorted(path.parent.name for path in (former.root / "build/work").rglob("request.json"))

    for steps in (11, 12):
        former.spec("net", quantize={"steps": steps})
        (former.root / "broken.txt").write_text("quantize fail")
        assert former.doit("net").returncode == 1
        for folder in (former.root / "build/work").rglob("quantize-*/quantize-*"):
            (folder / "request.json").touch()
    assert len(begun()) == 2
    before = files(former.root / "build/work")
    collected(former, "--dry-run", "--age", "0")
    assert files(former.root / "build/work") == before  # a lock's file that looking left would make the folder young
    collected(former, "--age", "0")
    assert len(begun()) == 1


def test_gc_waits_for_a_build_and_keeps_what_that_build_needs(former: ToyProject) -> None:
    with former.taken() as builder:
        waiting = former.started("gc", "--age", "0")
        assert waiting.stderr is not None
        assert f"waiting for another build of this folder: process {builder}" in waiting.stderr.readline()
        assert "would free 1 leftovers" in former.doit("gc", "--age", "0", "--dry-run").stdout  # It only looks.
        former.spec("net")  # Back to what the leftovers and results were made from.
    freed, _ = waiting.communicate()
    assert waiting.returncode == 0
    assert former.built() == []
    assert "of quantize" in freed  # Those of the spec that was edited meanwhile went instead.


def test_a_build_waits_for_gc(former: ToyProject) -> None:
    slow = "import sys\nfrom qatbuild.engine.leftovers import Leftover\nremove = Leftover.remove\n"
    slow += "def slowly(*given):\n    print('begun', file=sys.stderr, flush=True)\n    open('go').read()\n"
    slow += "    return remove(*given)\nLeftover.remove = slowly\n"
    (former.root / "dodo.py").write_text(f"{slow}{DODO}")
    os.mkfifo(former.root / "go")
    collecting = former.started("gc", "--age", "0")
    assert collecting.stderr is not None
    assert collecting.stderr.readline() == "begun\n"
    former.spec("net", input={"mean": 121, "std_dev": 16})
    build = former.started()
    assert build.stderr is not None
    assert f"process {collecting.pid}, __main__.py gc" in build.stderr.readline()
    assert former.runs() == []
    (former.root / "go").write_text("")
    for process in (collecting, build):
        process.communicate()
        assert process.returncode == 0
    assert "evaluate" in former.runs()


def test_a_spec_with_faults_lets_gc_remove_nothing(former: ToyProject) -> None:
    (former.root / "specs/other.json").write_text(json.dumps({**SPEC, "trian": {}}))
    done = former.doit("gc", "--age", "0")
    assert done.returncode == 3
    assert "Specs with faults may need results" in done.stderr
    assert follows("run doit check, and correct or remove these specs") in done.stderr
    (former.root / "specs/other.json").write_text(json.dumps({**SPEC, "quantize": {"steps": 7}}))
    assert former.built() == []
    assert former.doit("gc").returncode == 0


def test_results_of_another_checkout_stay_in_the_shared_store(toy: ToyProject) -> None:
    (toy.root / "pyproject.toml").write_text('[tool.qatbuild]\nstore = "../both"\n')
    other = ToyProject(toy.root.with_name("elsewhere"))
    shutil.copytree(toy.root, other.root)
    toy.built()
    other.spec("net", quantize={"steps": 7})
    other.built()
    collected(toy, "--age", "0")
    (other.root / "build/net/model.tflite").unlink()
    assert other.built() == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("net",), "takes no labels"),
        (("--age", "-1"), "at least 0"),
        (("--age", "nan"), "at least 0"),
        (("--size", "x"), "'x'"),
    ],
)
def test_gc_refuses_labels_and_invalid_options(toy: ToyProject, arguments: tuple[str, ...], text: str) -> None:
    done = toy.doit("gc", *arguments)
    assert done.returncode == 3
    assert text in done.stderr
    assert "Traceback" not in done.stderr
