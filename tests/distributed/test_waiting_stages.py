"""Stages wait at the scheduler: no worker has one that another could begin."""

from __future__ import annotations

from pathlib import Path

from tests.distributed.conftest import cluster_at, dask_project_at

_NO_STEALING = {"DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "False"}
"""It would bring the stage to the new worker in the end, up to a second later."""


def test_a_new_worker_begins_a_stage_while_all_others_are_busy(tmp_path: Path) -> None:
    with cluster_at(tmp_path / "cluster", **_NO_STEALING) as cluster:
        project = dask_project_at(tmp_path / "project", cluster)
        project.spec("net", variants={name: {"train": {"steps": steps}} for steps, name in enumerate("ab", 1)})
        busy = cluster.start_toy_worker()
        with cluster.listening() as said:
            with cluster.held("float"):
                build = project.doit_here()
                assert said.until("began float") == str(busy.pid)
                new = cluster.start_toy_worker()
                assert said.until("began float") == str(new.pid)
            printed = build.communicate()
        assert build.returncode == 0, printed
