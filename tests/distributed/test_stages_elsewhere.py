"""Stages that run on a cluster leave what they leave here: bytes, errors, logs, progress."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import distributed
import pytest

from qatbuild.engine.build import build
from qatbuild.engine.outcome import Fate
from qatbuild.engine.project import Project
from qatbuild.engine.store.entry import Entry
from qatbuild.engine.store.remote.folder import FolderRemote
from tests.builds.conftest import toy_at
from tests.builds.test_side_by_side import artifacts
from tests.builds.toolchain import ToyExecutor
from tests.distributed.conftest import Cluster, DaskProject, cluster_at, dask_project_at

VARIANTS = {name: {"train": {"steps": steps}} for steps, name in enumerate("abcd", 1)}


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with one toy worker."""
    with cluster_at(tmp_path_factory.mktemp("machines") / "cluster") as result:
        result.start_toy_worker()
        yield result


@pytest.fixture
def project(tmp_path: Path, workers: Cluster) -> DaskProject:
    """A toy project on the cluster."""
    return dask_project_at(tmp_path / "project", workers)


def errors(root: Path, orders: str) -> list[str]:
    """The errors of a build in this process that follows the orders."""
    root.mkdir()
    toy_at(root)
    (root / "broken.txt").write_text(orders)
    outcomes = build(Project.prepared(root), executor=ToyExecutor()).outcomes
    return [row.error for row in outcomes.rows if row.error]


def test_expected_errors_are_those_of_this_machine(tmp_path: Path, project: DaskProject) -> None:
    broken = project.cluster.root / "broken.txt"
    with project.cluster.listening():
        for orders in ("float fail", "evaluate refuse"):
            broken.write_text(orders)
            rows = project.build().outcomes.rows
            broken.unlink()
            assert [row.error for row in rows if row.error] == errors(tmp_path / orders, orders)
    assert rows[-1].fate is Fate.REFUSED
    assert json.loads((project.root / "build/net/report.json").read_text())["label"] == "net"
    assert not (project.root / "build/net/evaluate.manifest.json").exists()


def test_log_progress_and_run_come_back_with_the_paths_of_this_machine(
    project: DaskProject, capfd: pytest.CaptureFixture[str]
) -> None:
    with project.cluster.listening() as said:
        assert project.build("net:dataset").ok
        process = int(said.until("began dataset"))
    folder = project.shared("dataset")
    assert (folder / "log.txt").read_text() == f"== dataset toy\nreads {project.root}/specs\n"
    assert capfd.readouterr().err == "warning: dataset is half done\n"
    ran = json.loads((folder / "dataset.run.json").read_text())
    assert ran["toy"] == process
    entry = FolderRemote(Path(f"{project.root}.cache")).read_entry(ran["key"])
    assert entry is not None
    assert Entry.parse(ran["key"], entry).writer.processor == "a toy's"
    assert process != os.getpid()
    left = project.cluster.root.glob("worker-*/**/qatbuild/*-*")
    assert not [path for path in left if path.is_dir()], "scratch folders stay"


def test_a_result_comes_without_being_asked_for_and_may_outlive_its_worker(
    project: DaskProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed.Future, "result", lambda *_, **__: pytest.fail("the worker is asked"))
    with project.cluster.listening():
        assert project.build("net:dataset").ok


def test_the_users_own_code_and_files_travel(project: DaskProject) -> None:
    (project.root / "nets").mkdir()
    (project.root / "nets/__init__.py").write_text("")
    (project.root / "nets/small.py").write_text("from nets.parts import WIDTH\n")
    (project.root / "nets/parts.py").write_text("WIDTH = 1\n")
    (project.root / "table.csv").write_text("1,2,3")
    project.spec("net", model={"call": "nets.small:net", "files": ["../table.csv"]})
    with project.cluster.listening():
        assert project.build("net:float").ok
    assert "1,2,3" in project.shared("float").joinpath("model.ckpt-1.index").read_text()


def test_one_two_and_four_workers_make_the_same_bytes(tmp_path: Path, workers: Cluster) -> None:
    made = []
    for count in (1, 2, 4):
        while len(workers.processes) <= count:
            workers.start_toy_worker()
        project = dask_project_at(tmp_path / f"on-{count}", workers)
        project.spec("net", variants=VARIANTS)
        with workers.listening() as said:
            with workers.held("float"):
                build = project.doit_here()
                processes = {said.until("began float") for _ in range(count)}
            printed = build.communicate()
        assert build.returncode == 0, printed
        assert len(processes) == count
        made.append(artifacts(project.root))
    assert made[0] == made[1] == made[2]
    assert len(made[0]) > 2 * len(VARIANTS)
