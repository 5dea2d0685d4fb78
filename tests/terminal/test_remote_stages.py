"""A build whose stages run on a Dask cluster shows them on its terminal like stages of this machine."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.conftest import Cluster, DaskProject, Said, cluster_at, dask_project_at
from tests.terminal.conftest import step
from tests.terminal.screen import Terminal
from tests.terminal.test_live_lines import draws, live


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers, whose float stages say that they are at step 80 of 200."""
    with cluster_at(tmp_path_factory.mktemp("dask") / "cluster") as made:
        (made.root / "says-float").write_text(f"{json.dumps(step(80))}\n")
        made.start_toy_worker()
        made.start_toy_worker()
        yield made


@pytest.fixture
def said(cluster: Cluster) -> Iterator[Said]:
    """What toys say, without a reader of which they wait."""
    with cluster.listening() as lines:
        yield lines


@pytest.fixture
def project(cluster: Cluster, tmp_path: Path) -> DaskProject:
    made = dask_project_at(tmp_path / "project", cluster)
    made.spec("other", train={"steps": 100, "learning_rate": {"initial": 0.2}})
    return made


def started(project: DaskProject) -> Terminal:
    environment = {"QATBUILD_CACHE": f"{project.root}.cache"}
    executor = f"dask://{project.cluster.scheduler}"
    command = (sys.executable, "-m", "doit", "--executor", executor)
    return Terminal(*command, cwd=project.root, environment=environment)


@pytest.mark.usefixtures("said")
def test_remote_stages_have_their_lines_and_are_counted(project: DaskProject) -> None:
    with started(project) as terminal:
        with project.cluster.held("float"):
            text = terminal.until(lambda text: text.count(":float:  40%") == 2 and draws()(text))
            assert re.fullmatch(r"\d of 14 stages", live(text)[-1])
            assert "warning: float is half done" in text
        assert terminal.end() == 0
        assert live(terminal.text) == []
        assert terminal.lines[-1].startswith("14 built in")


def test_ctrl_c_interrupts_remote_stages_and_leaves_one_line(project: DaskProject, said: Said) -> None:
    with project.cluster.held("float"), started(project) as terminal:
        terminal.until(lambda text: text.count(":float:  40%") == 2)
        terminal.press(b"\x03")
        assert terminal.end() == 130
        assert live(terminal.text) == []
        assert terminal.lines[-1] == "interrupted; run doit again to go on"
        said.until("interrupted float")
        said.until("interrupted float")
