"""`doit reproduce`: a model is rebuilt elsewhere, without any kept result, and compared stage by stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builds.conftest import ToyProject
from tests.hints import follows

NOISE = """
from qatbuild.plugin import door
from tests.builds.toolchain import ToyExecutor


class Noisy(ToyExecutor):
    def text(self, request):
        noise = request.project / f"noise-{request.stage}.txt"
        return super().text(request) + (noise.read_text() if noise.exists() else "")


DOIT_CONFIG, task_specs = door(__file__, Noisy())
"""


@pytest.fixture
def noisy(toy: ToyProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToyProject:
    """A built model, with a toolchain that can be made to leave other bytes, and a folder of its own for scratch."""
    (toy.root / "dodo.py").write_text(NOISE)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    toy.built()
    return toy


def left(toy: ToyProject) -> list[Path]:
    return list((toy.root / "scratch").iterdir())


def test_an_equal_rebuild_says_so_and_leaves_nothing(noisy: ToyProject) -> None:
    before = {path: path.stat().st_mtime_ns for path in (noisy.root / "build/net").rglob("*")}
    done = noisy.doit("reproduce", "net")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("net: 8 stages rebuilt, all bytes equal\n")
    assert noisy.runs() == ["dataset", "check", "float", "quantize", "export", "freeze", "convert", "evaluate"]
    assert left(noisy) == []
    assert {path: path.stat().st_mtime_ns for path in (noisy.root / "build/net").rglob("*")} == before


def test_the_first_stage_and_file_with_other_bytes_are_named(noisy: ToyProject) -> None:
    (noisy.root / "noise-quantize.txt").write_text("!")
    done = noisy.doit("reproduce", "--json", "net")
    assert done.returncode == 1, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert not model["equal"]
    stages: dict[str, Any] = model["stages"]
    assert [name for name, state in stages.items() if state == "different"] == ["quantize", "freeze", "convert"]
    first = model["first"]
    assert (first["stage"], first["file"]) == ("quantize", "model.ckpt-1.index")
    assert first["tensor"].startswith("byte ")  # A toy's checkpoint has no tensors.
    assert left(noisy) == []


def test_a_kept_scratch_folder_is_named(noisy: ToyProject) -> None:
    done = noisy.doit("reproduce", "--keep", "net")
    (folder,) = left(noisy)
    assert f"kept in {folder}" in done.stdout
    assert (folder / "net/model.tflite").exists()


def test_a_stage_that_cannot_run_is_an_expected_error(noisy: ToyProject) -> None:
    (noisy.root / "broken.txt").write_text("float fail")
    done = noisy.doit("reproduce", "net")
    assert done.returncode != 0
    assert "net cannot be rebuilt: a stage failed." in done.stderr
    assert "The toy float fails." in done.stdout
    (noisy.root / "broken.txt").unlink()
    assert noisy.doit("reproduce", "net").returncode == 0
    assert left(noisy) == []


def test_a_model_that_is_not_up_to_date_is_built_first(noisy: ToyProject) -> None:
    noisy.spec("net", evaluate={"min_top1": 50})
    done = noisy.doit("reproduce", "net")
    assert done.returncode != 0
    assert follows("doit {}, and then reproduce it").format("net") in done.stderr
    noisy.built("net")
    assert noisy.doit("reproduce", "net").returncode == 0
