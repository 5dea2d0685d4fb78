"""The executor is chosen on the command line, in the environment or in the project's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dask
import pytest

from qatbuild.engine.build import build
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import SpecError
from tests.architecture.test_contracts import imported
from tests.builds.conftest import REPOSITORY, ToyProject, toy_at
from tests.distributed import toy_worker
from tests.distributed.conftest import DODO, Cluster
from tests.hints import follows

LOCAL_TOYS = """
from qatbuild.engine.execute import local
from tests.builds.toolchain import ToyExecutor
local.LocalExecutor = ToyExecutor
"""


@pytest.fixture
def toy(tmp_path: Path) -> ToyProject:
    """A toy project whose dodo.py names no executor."""
    root = tmp_path / "toy"
    root.mkdir()
    toy_at(root)
    (root / "dodo.py").write_text(DODO)
    return ToyProject(root)


def test_a_scheduler_that_does_not_answer_is_an_error_after_a_limit(
    toy: ToyProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QATBUILD_EXECUTOR", "dask://127.0.0.1:1")
    monkeypatch.setenv("QATBUILD_CACHE", str(tmp_path / "cache"))
    with dask.config.set({"qatbuild.connect-timeout": "100ms"}):
        outcomes = build(Project.prepared(toy.root), ["net:dataset"]).outcomes
    assert "The Dask scheduler cannot be reached." in outcomes.rows[0].error
    assert follows("or build here: --executor local") in outcomes.rows[0].error
    (toy.root / "dodo.py").write_text(LOCAL_TOYS + DODO)
    assert toy.built("run", "--executor", "local", "net:dataset") == ["dataset"]


def test_workers_elsewhere_need_a_cache(toy: ToyProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QATBUILD_EXECUTOR", "dask://127.0.0.1:1")
    (error,) = (row.error for row in build(Project.prepared(toy.root), ["net:dataset"]).outcomes.rows)
    assert "The workers of a Dask cluster get their files from a cache." in error
    assert follows('[tool.qatbuild] cache = "URL or folder" that this machine and all workers can write to') in error
    settings = toy.root / "pyproject.toml"
    settings.write_text(settings.read_text() + f'cache = "{tmp_path}/cache"\ncache_mode = "read"\n')
    (error,) = (row.error for row in build(Project.prepared(toy.root), ["net:dataset"]).outcomes.rows)
    assert "is only read (cache_mode)" in error


def test_an_executor_of_another_kind_is_an_error(toy: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    done = toy.doit("run", "--executor", "dusk")
    assert "--executor" in done.stderr
    assert '"dusk"' in done.stderr
    monkeypatch.setenv("QATBUILD_EXECUTOR", "dask://nowhere")
    with pytest.raises(SpecError) as error:
        Project.at(toy.root)
    hint = follows("write local, dask (a cluster of this machine) or dask://HOST:PORT (a scheduler)")
    assert error.value.hint == hint
    monkeypatch.setenv("QATBUILD_EXECUTOR", "dask://[::1]:8786")
    assert Project.at(toy.root).executor == "dask://[::1]:8786"


def test_the_environment_goes_before_the_settings(toy: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = toy.root / "pyproject.toml"
    settings.write_text(settings.read_text() + 'executor = "dask"\n')
    assert Project.at(toy.root).executor == "dask"
    monkeypatch.setenv("QATBUILD_EXECUTOR", "local")
    assert Project.at(toy.root).executor == "local"


def test_without_a_cluster_nothing_of_dask_is_imported(toy: ToyProject) -> None:
    (toy.root / "dodo.py").write_text(LOCAL_TOYS + DODO)
    assert not {"dask", "distributed", "fsspec"} & imported("doit", cwd=toy.root)
    assert "evaluate" in toy.runs()


def test_the_executor_is_an_extra(toy: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QATBUILD_EXECUTOR", "dask")
    monkeypatch.setitem(sys.modules, "distributed", None)
    (error,) = (row.error for row in build(Project.prepared(toy.root), ["net:dataset"]).outcomes.rows)
    assert "pip install 'qatbuild[dask]'" in error
    assert 'dask = ["distributed' in (REPOSITORY / "pyproject.toml").read_text()


def test_a_cluster_of_this_machine_ends_with_the_build(toy: ToyProject, cluster: Cluster) -> None:
    preload = {"DASK_DISTRIBUTED__WORKER__PRELOAD": "['tests.distributed.toy_worker']"}
    environment = {**os.environ, **preload, toy_worker.FOLDER: str(cluster.root), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "doit", "run", "--executor", "dask"]
    with cluster.listening() as said:
        done = subprocess.run(command, cwd=toy.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "8 built" in done.stdout
        processes = {int(line.split()[2]) for line in said.all()}
    assert not [process for process in processes if Path(f"/proc/{process}").exists()]
    assert not (toy.root / "build/.qatbuild/dask").exists()
