"""`doit -n N`: which stages run at once, and that the artifacts do not depend on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builds.conftest import ToyProject

DODO = """
import threading
from pathlib import Path
from qatbuild.plugin import door
from tests.builds.toolchain import ToyExecutor

class Meeting(ToyExecutor):
    together = threading.Barrier(2)
    lock = threading.Lock()
    calls = inside = most = 0

    def run(self, request):
        if request.stage != "float":
            return super().run(request)
        with self.lock:
            Meeting.calls += 1
            Meeting.inside += 1
            Meeting.most = max(Meeting.most, Meeting.inside)
            Path("most.txt").write_text(str(Meeting.most))
        {how}
        super().run(request)
        with self.lock:
            Meeting.inside -= 1

DOIT_CONFIG, task_specs = door(__file__, Meeting())
"""


@pytest.fixture
def two(toy: ToyProject) -> ToyProject:
    """Two specs that share nothing but their dataset and check."""
    toy.spec("other", train={"steps": 7, "learning_rate": {"initial": 0.1}})
    return toy


def artifacts(root: Path) -> dict[str, bytes]:
    """Returns every published artifact by name."""
    folder = root / "build"
    files = [path for path in folder.rglob("*") if path.is_file() and ".qatbuild" not in path.parts]
    kept = {".manifest.json", ".pb", ".tflite", ".npz", ".index"}
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if "".join(path.suffixes[-2:]) in kept}


def test_independent_stages_run_at_once(two: ToyProject) -> None:
    (two.root / "dodo.py").write_text(DODO.format(how="self.together.wait(60)"))
    assert two.doit("-n", "2").returncode == 0


def test_a_pool_keeps_them_apart_and_the_result_is_the_same(two: ToyProject) -> None:
    (two.root / "dodo.py").write_text(DODO.format(how="pass"))
    two.built()
    alone = artifacts(two.root)
    two.doit("clean")
    with (two.root / "pyproject.toml").open("a") as file:
        file.write("[tool.qatbuild.pools]\ngpu = 1\n")
    (two.root / "most.txt").unlink()
    assert two.built("-n", "8", "-a").count("float") == 2
    assert (two.root / "most.txt").read_text() == "1"
    assert artifacts(two.root) == alone


def test_a_model_is_done_before_the_next_one_is_trained(two: ToyProject) -> None:
    with (two.root / "pyproject.toml").open("a") as file:
        file.write("[tool.qatbuild.pools]\ncpu = 1\n[tool.qatbuild.takes]\n")
        file.writelines(f"{stage} = {{cpu = 1}}\n" for stage in ("float", "quantize", "freeze", "convert", "evaluate"))
    ran = two.built("-n", "4", "other", "net")
    assert [each for each in ran if each in {"float", "quantize", "evaluate"}] == ["float", "quantize", "evaluate"] * 2


def test_threads_of_all_that_run_are_no_more_than_twice_the_cores(toy: ToyProject) -> None:
    """Columns: the project's settings, how many of four trainings run at once."""
    cores = os.cpu_count() or 1
    for number in range(4):
        toy.spec(f"v{number}", train={"steps": 10 + number, "learning_rate": {"initial": 0.1}})
    for said, most in (("", 2), (f"[tool.qatbuild.pools]\ncpu = {cores}\n", 1)):
        settings = f"[tool.qatbuild]\nstore = false\nthreads = {cores}\n{said}"
        (toy.root / "pyproject.toml").write_text(settings)
        how = "Meeting.calls > 2 or self.together.wait(60)" if most == 2 else "pass"
        (toy.root / "dodo.py").write_text(DODO.format(how=how))
        assert toy.built("-n", "8", "-a").count("float") == 5
        assert int((toy.root / "most.txt").read_text()) == most


def test_a_failure_stops_stages_that_have_not_begun_and_with_c_only_dependent_ones(two: ToyProject) -> None:
    (two.root / "broken.txt").write_text("check fail")
    done = two.doit("-n", "4")
    assert done.returncode == 1
    assert set(two.runs()) == {"dataset", "check"}
    (two.root / "broken.txt").write_text("export fail")
    done = two.doit("-n", "4", "-c")
    assert done.returncode != 0
    assert two.runs().count("quantize") == 2
    assert "net:freeze: not built" in done.stdout


def test_interrupted_while_several_run_says_so_once_and_goes_on_later(two: ToyProject) -> None:
    how = "print('here', flush=True); self.together.wait(60); import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    (two.root / "dodo.py").write_text(DODO.format(how=how))
    done = two.doit("-n", "2")
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr.count("interrupted; run doit again to go on") == 1
    assert "Traceback" not in done.stderr
    two.runs()
    (two.root / "dodo.py").write_text(DODO.format(how="pass"))
    ran = two.built("-n", "2")
    assert "dataset" not in ran
    assert "evaluate" in ran


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pools = {gpu = -1}", "tool.qatbuild.pools.gpu  must be a number of at least 0, got -1."),
        ("takes = {float = {gpus = 1}}", "tool.qatbuild.takes.float.gpus  unknown pool. Known: cpu, gpu, memory_gib."),
        ("takes = {float = 1}", "tool.qatbuild.takes.float  must be a table of pools, got 1."),
    ],
)
def test_invalid_pool_is_named(toy: ToyProject, text: str, said: str) -> None:
    (toy.root / "pyproject.toml").write_text(f"[tool.qatbuild]\n{text}\n")
    done = toy.doit()
    assert done.returncode == 3
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_doit_without_specs_runs_as_doit_does(tmp_path: Path) -> None:
    (tmp_path / "dodo.py").write_text(
        "import os\n\ndef task_a():\n    for name in 'xy':\n"
        f"        yield {{'name': name, 'actions': [lambda: print(os.getpid() == {os.getpid()})]}}\n"
    )
    command = [sys.executable, "-m", "doit", "-n", "2", "-v2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count("False") == 2
    assert (tmp_path / ".doit.db").exists() or list(tmp_path.glob(".doit.db*"))
