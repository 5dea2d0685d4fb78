"""Workers, schedulers and builds that die."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import dask
import pytest

from tests.distributed.conftest import DaskProject


def test_a_training_goes_on_at_another_worker_when_its_own_is_killed(project: DaskProject) -> None:
    cluster = project.cluster
    cluster.start_toy_worker()
    cluster.start_toy_worker()
    with cluster.listening() as said, ThreadPoolExecutor() as pool:
        with cluster.held("float"):
            building = pool.submit(project.build)
            process = int(said.until("began float"))
            said.until("saved")
            os.kill(process, signal.SIGKILL)
            assert int(said.until("resumed float")) != process
        assert building.result().ok


def test_a_build_outlives_the_scheduler(project: DaskProject, capfd: pytest.CaptureFixture[str]) -> None:
    cluster = project.cluster
    cluster.start_toy_worker()
    patience = dask.config.set({"qatbuild.connect-timeout": "180s"})  # A busy machine takes long to start a scheduler.
    with patience, cluster.listening() as said, ThreadPoolExecutor() as pool:
        with cluster.held("float"):
            building = pool.submit(project.build)
            said.until("saved")
            cluster.processes[0].kill()
            said.until("interrupted float")
            cluster.start_scheduler()
            cluster.start_toy_worker()
            said.until("resumed float")
        assert building.result().ok
    lines = capfd.readouterr().err.splitlines()
    usual = ("warning: ", "waiting for a worker", "   ")  # The last one begins a line about progress.
    assert [line for line in lines if not line.startswith(usual)] == []


def test_a_killed_build_stops_its_stage_and_blocks_no_later_one(project: DaskProject) -> None:
    cluster = project.cluster
    cluster.start_toy_worker()
    with cluster.listening() as said, cluster.held("float"):
        build = project.doit_here()
        said.until("saved")
        build.kill()
        build.communicate()
        said.until("interrupted float")
        with ThreadPoolExecutor() as pool:
            building = pool.submit(project.build)
            said.until("resumed float")
            (cluster.root / "hold-float").unlink()
            assert building.result().ok


def test_ctrl_c_interrupts_the_stage_which_saves_its_state(project: DaskProject) -> None:
    cluster = project.cluster
    cluster.start_toy_worker()
    with cluster.listening() as said:
        with cluster.held("float"):
            build = project.doit_here()
            said.until("saved")
            build.send_signal(signal.SIGINT)
            _, printed = build.communicate()
            said.until("interrupted float")
        assert build.returncode == 128 + signal.SIGINT
        assert printed.endswith("\ninterrupted; run doit again to go on\n")
        assert project.build().ok
        assert any(line.startswith("resumed float") for line in said.all())
