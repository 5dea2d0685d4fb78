"""A real training on a cluster: its worker is killed, then the build is interrupted, and the bytes are the same."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from qatbuild.engine.store.remote import Remote, connect
from tests.distributed.conftest import Cluster, DaskProject, dask_project_at
from tests.slow_training import HOLD, slow_model

LABEL = "net:float"
STEPS = 1000
RESUMED = "The training goes on from step "


def trained_at(root: Path, cluster: Cluster) -> DaskProject:
    """Makes a project that trains on the digits."""
    project = dask_project_at(root, cluster)
    (root / "pyproject.toml").write_text("[tool.qatbuild]\nstore = false\nthreads = 1\n")
    train = {"steps": STEPS, "learning_rate": {"initial": 0.05}, "checkpoint_every": 50}
    dataset, scaling = {"name": "digits"}, {"mean": 0, "std_dev": 16}
    project.spec("net", dataset=dataset, input=scaling, model=slow_model(root), train=train)
    return project


@contextlib.contextmanager
def lines_of(file: Path, build: subprocess.Popen[str]) -> Iterator[Iterator[str]]:
    """Yields the lines of a file as they are written, until the build ends; a failure meanwhile ends `tail`, too."""
    command = ["tail", "-f", "-c", "+0", f"--pid={build.pid}", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        try:
            yield tail.stdout
        finally:
            tail.kill()


def until(lines: Iterator[str], is_wanted: Callable[[str], bool]) -> str:
    """Reads lines to the first that is wanted, and returns it; the last one of a training ends it, too."""
    line = next(line for line in lines if is_wanted(line) or line.startswith(f"step {STEPS}:"))
    assert is_wanted(line), line
    return line


def saved_step(cache: Remote) -> int:
    """The step of the training whose state is in the cache; 0 without one."""
    entries = (json.loads(cache.read_entry(key) or "{}") for key in cache.entries())
    return max((json.loads(each["state"])["step"] for each in entries if "state" in each), default=0)


def reported_steps(events: Iterator[str]) -> Iterator[int]:
    """The steps of the training in the events of the build."""
    for row in map(json.loads, events):
        if row["event"] == "progress" and row["stage"].endswith(":float"):
            yield row["done"]


def logged_step(line: str) -> int:
    return int(line.removeprefix("step ").partition(":")[0])


def resumed_step(line: str) -> int:
    return int(line.removeprefix(RESUMED).rstrip(".\n"))


def test_a_killed_and_interrupted_training_makes_the_bytes_of_an_undisturbed_one(
    tmp_path: Path, cluster: Cluster
) -> None:
    project, undisturbed = trained_at(tmp_path / "disturbed", cluster), trained_at(tmp_path / "undisturbed", cluster)
    cache = connect(f"{project.root}.cache")
    environment = {HOLD: str(cluster.root / "hold-float")}
    worker = cluster.start_worker(**environment)
    folder = project.home("float")
    log = folder / "log.txt"
    folder.mkdir(parents=True)
    log.touch()
    events = project.root / "events.jsonl"
    events.touch()
    build = project.doit_here("run", "--events", events.name, LABEL)
    with cluster.held("float"), lines_of(log, build) as lines, lines_of(events, build) as rows:
        until(lines, lambda line: line.startswith("step ") and saved_step(cache) >= 100)
        worker.kill()
        worker.wait()
        last = saved_step(cache)
        cluster.start_worker(**environment)
        assert resumed_step(until(lines, lambda line: line.startswith(RESUMED))) == last < STEPS
        logged = logged_step(until(lines, lambda line: line.startswith("step ")))
        assert next(step for step in reported_steps(rows) if step > last)
        build.send_signal(signal.SIGINT)
        printed = build.communicate()
        assert build.returncode == 128 + signal.SIGINT, printed
        assert not (folder / "float.manifest.json").exists()
    last = saved_step(cache)
    assert logged <= last < STEPS
    assert project.build(LABEL).ok
    resumed = [line for line in log.read_text().splitlines() if line.startswith(RESUMED)]
    assert resumed_step(resumed[-1]) == last
    assert undisturbed.build(LABEL).ok
    manifests = [each.shared("float") / "float.manifest.json" for each in (project, undisturbed)]
    assert manifests[0].read_text() == manifests[1].read_text()
    assert manifests[0].read_text().count("model.ckpt-") > STEPS / 50
