"""Clusters that cannot run a stage say why, and what to do; no build hangs."""

from __future__ import annotations

import shutil

import dask
import pytest

from tests.builds.conftest import REPOSITORY
from tests.distributed import toy_worker
from tests.distributed.conftest import DaskProject
from tests.hints import follows


def failure(project: DaskProject) -> str:
    """The error of a build that fails at its first stage."""
    outcomes = project.build("net:dataset").outcomes
    assert not outcomes.ok
    return outcomes.rows[0].error


def test_a_worker_with_another_version_refuses_and_one_like_this_machine_builds(
    project: DaskProject, capfd: pytest.CaptureFixture[str]
) -> None:
    with project.cluster.listening() as said:
        project.cluster.start_toy_worker(**{toy_worker.VERSION: "1.0"})
        error = failure(project)
        assert "A Dask worker refuses the stage dataset: its result might differ." in error
        assert "on the worker" in error.split("numpy", 1)[1]
        assert follows("or run it here: doit run --executor local") in error
        capfd.readouterr()

        worker = project.cluster.start_toy_worker()
        assert project.build().ok
        assert capfd.readouterr().err.count("A Dask worker refuses the stage dataset") <= 1
        assert said.until("began dataset") == str(worker.pid)
        assert said.until("began evaluate") == str(worker.pid)


def test_a_worker_with_other_code_names_the_modules(project: DaskProject) -> None:
    package = project.cluster.root / "other/qatbuild"
    shutil.copytree(REPOSITORY / "qatbuild", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "worker/datasets/holdout.py").write_text("CHANGED = True\n")
    with project.cluster.listening():
        project.cluster.start_toy_worker(**{toy_worker.PACKAGE: str(package)})
        error = failure(project)
        assert "qatbuild.worker.datasets.holdout differs" in error
        assert follows("install the same qatbuild on the workers, and start them again") in error
        project.cluster.start_toy_worker()
        assert project.build("net:dataset").ok


def test_a_worker_that_reaches_another_cache_is_an_error(project: DaskProject) -> None:
    with project.cluster.listening():
        elsewhere = project.cluster.start_toy_worker(**{toy_worker.CACHE: str(project.cluster.root / "elsewhere")})
        error = failure(project)
        assert "A blob in the cache is missing or damaged." in error
        assert follows("name a cache that this machine and all workers reach") in error
        elsewhere.kill()
        project.cluster.start_toy_worker()
        assert project.build("net:dataset").ok


def test_pools_are_resources_of_dask(project: DaskProject) -> None:
    settings = project.root / "pyproject.toml"
    settings.write_text(
        settings.read_text() + "[tool.qatbuild.pools]\nlicence = 1\n[tool.qatbuild.takes]\nexport = {licence = 1}"
    )
    cluster = project.cluster
    plain, with_card, with_licence = (
        cluster.start_toy_worker(*options) for options in ((), ("--resources", "GPU=1"), ("--resources", "LICENCE=1"))
    )
    with cluster.listening() as said:
        assert project.build().ok
        ran = [line.split()[1:] for line in said.all()]
    assert {process for stage, process in ran if stage in {"float", "quantize"}} == {str(with_card.pid)}
    assert [process for stage, process in ran if stage == "export"] == [str(with_licence.pid)]
    assert plain.poll() is None


def test_a_cluster_without_workers_is_an_error_after_a_limit(project: DaskProject) -> None:
    with dask.config.set({"qatbuild.workers-timeout": "100ms"}):
        error = failure(project)
    assert "The Dask cluster has no workers, or does not answer." in error
    assert f"{follows('start workers for it: dask worker')} tcp://{project.cluster.scheduler}" in error
    project.cluster.start_toy_worker()
    with project.cluster.listening():
        assert project.build("net:dataset").ok
