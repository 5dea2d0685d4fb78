"""Two hundred variants over Dask, while a worker is killed every ten seconds: overhead, idle time, memory.

    python -m tests.benchmarks.dask_sweep --variants 200 --workers 8 --kill 10

starts a scheduler, workers of one thread and a cache server, each a process of its own on this machine, and builds a
spec of so many variants with `doit`. Stages sleep as long as their work would take (dask_toy.py), so that more workers
than processors can be busy. Every --kill seconds a worker is killed with SIGKILL and a new one takes its place. The
sweep runs twice: undisturbed, and with the killing. Figures of memory and CPU are those of the processes themselves.

Results go into tests/benchmarks/results/dask_sweep.json and .md, and into qatbuild/docs/benchmarks.md. The constants of
simulation.py are among them. It takes about five minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.cache_server import Count, served
from tests.benchmarks.idle import FACTOR, LOG, Run, built_twice, idle_seconds, runs, work_seconds
from tests.benchmarks.measure import FailedRunError, cost, host
from tests.benchmarks.table import RESULTS, publish
from tests.builds.conftest import SPEC

_REPOSITORY = Path(__file__).parents[2]
_ONE_A_THREAD = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1"}
"""As docs/scale.md has it: the scheduler keeps a stage until a worker is free."""

_DODO = "from qatbuild.plugin import door\n\nDOIT_CONFIG, task_specs = door(__file__)\n"
_TICKS = os.sysconf("SC_CLK_TCK")
_LIMIT_SECONDS = 3600


class Usage(NamedTuple):
    """What a process has taken so far: the largest resident memory, and CPU seconds."""

    peak_bytes: int
    cpu_seconds: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Reads the usage of a running process (Linux)."""
        status = Path(f"/proc/{pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cls(int(peak.split()[1]) * 1024, (int(fields[11]) + int(fields[12])) / _TICKS)


@dataclass
class Cluster:
    """A scheduler and its workers below a folder."""

    root: Path
    factor: float
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    arrived: dict[int, float] = field(default_factory=dict)
    """When the scheduler had a worker, by its process (seconds since the epoch)."""

    _made: int = 0

    def __post_init__(self) -> None:
        """Starts the scheduler."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        options = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-jupyter"]
        self.scheduler = self._started("scheduler", options, b"Scheduler at:")

    def add_worker(self) -> None:
        """Starts a worker of one thread, and waits until the scheduler has it."""
        self._made += 1
        folder = str(self.root / f"worker-{self._made}")
        options = [f"tcp://{self.address}", "--no-nanny", "--no-dashboard", "--nthreads", "1"]
        options += ["--local-directory", folder, "--preload", "tests.benchmarks.dask_toy"]
        worker = self._started("worker", options, b"Registered to:")
        self.arrived[worker.pid] = time.time()
        self.workers.append(worker)

    def kill_worker(self) -> None:
        """Kills a worker, and starts another."""
        victim = random.choice(self.workers)
        self.workers.remove(victim)
        victim.kill()
        victim.wait()
        self.killed.append(victim.pid)
        self.add_worker()

    def stop(self) -> None:
        """Ends all processes."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _started(self, what: str, options: Sequence[str], sign: bytes) -> subprocess.Popen[bytes]:
        more = {LOG: str(self.root / "log"), FACTOR: str(self.factor), "PYTHONUNBUFFERED": "1", **_ONE_A_THREAD}
        environment = {**os.environ, **more, "PYTHONPATH": str(_REPOSITORY)}
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options]
        process = subprocess.Popen(command, cwd=self.root, env=environment, stderr=subprocess.PIPE)
        assert process.stderr is not None
        for line in process.stderr:
            if sign in line:
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return process
        raise FailedRunError(f"dask {what} does not start")


def sweep(root: Path, variants: int, workers: int, kill_every_s: float, factor: float) -> dict[str, Any]:
    """Builds a spec of so many variants over so many workers; returns the figures."""
    project = root / "project"
    (project / "specs").mkdir(parents=True)
    (project / "dodo.py").write_text(_DODO)
    (project / "pyproject.toml").write_text("[tool.qatbuild]\nthreads = 1\n")
    (project / "specs/data.bin").write_text("pixels")
    seeds = list(range(1, variants + 1))
    (project / "specs/sweep.json").write_text(json.dumps({**SPEC, "matrix": {"train.seed": seeds}}))
    with served(root / "cache") as url, _cluster(root, workers, factor) as cluster:
        environment = {"PYTHONPATH": str(_REPOSITORY), "QATBUILD_CACHE": url}
        environment["QATBUILD_EXECUTOR"] = f"dask://{cluster.address}"
        command = [sys.executable, "-m", "doit"]
        with _repeated(cluster.kill_worker, kill_every_s):
            client = cost(command, project, environment, limit_seconds=_LIMIT_SECONDS)
        usages = [Usage.of(process.pid) for process in (cluster.scheduler, *cluster.workers)]
        count = Count(**json.load(urllib.request.urlopen(f"{url}/count")))
    scheduler, *others = usages
    done = runs((root / "log").read_text().splitlines())
    return {
        "variants": variants,
        "workers": workers,
        "kill_every_s": kill_every_s,
        "killed": len(cluster.killed),
        "wall_seconds": client.wall_seconds,
        **_figures(done, cluster, workers, client.wall_seconds),
        "peak_bytes": {
            "client": client.peak_bytes,
            "scheduler": scheduler.peak_bytes,
            "worker": max(each.peak_bytes for each in others),
        },
        "cpu_seconds": {
            "client": client.cpu_seconds,
            "scheduler": scheduler.cpu_seconds,
            "workers": sum(each.cpu_seconds for each in others),
            "server": count.cpu_seconds,
        },
        "answers": count.answers,
        "answered_bytes": count.bytes,
    }


def _figures(done: Sequence[Run], cluster: Cluster, workers: int, wall_seconds: float) -> dict[str, Any]:
    stages = len({run.key for run in done if run.end_s is not None})
    work, idle = work_seconds(done), sorted(idle_seconds(done, cluster.arrived))
    return {
        "stages": stages,
        "built_twice": len(built_twice(done, cluster.killed)),
        "cut_off": sum(run.end_s is None for run in done),
        "work_seconds": work,
        "overhead_seconds": (workers * wall_seconds - work) / stages,
        "idle_seconds": {
            "median": statistics.median(idle),
            "p95": idle[int(0.95 * (len(idle) - 1))],
            "most": idle[-1],
            "share": sum(idle) / (workers * wall_seconds),
        },
    }


@contextlib.contextmanager
def _cluster(root: Path, workers: int, factor: float) -> Iterator[Cluster]:
    cluster = Cluster(root, factor)
    try:
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.stop()


@contextlib.contextmanager
def _repeated(action: Callable[[], None], every_s: float) -> Iterator[None]:
    """Calls an action every so many seconds; never for 0."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every_s):
            action()

    thread = threading.Thread(target=repeat)
    if every_s:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if every_s:
            thread.join()


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kill", type=float, default=10.0, help="seconds between two killed workers")
    parser.add_argument("--factor", type=float, default=1.0, help="of all stages' work")
    parser.add_argument("--out", type=Path, default=RESULTS / "dask_sweep")
    options = parser.parse_args(arguments)
    rows = []
    for kill_every_s in (0.0, options.kill):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(sweep(Path(folder), options.variants, options.workers, kill_every_s, options.factor))
        sys.stderr.write(f"{json.dumps(rows[-1], indent=1)}\n")
    result = {"host": host(), "factor": options.factor, "rows": rows}
    publish(options.out, result, markdown(result))
    return 0


def markdown(result: dict[str, Any]) -> str:
    """A row a figure, a column a sweep."""
    host, rows = result["host"], result["rows"]
    heads = [
        f"a worker killed every {row['kill_every_s']:g} s" if row["kill_every_s"] else "undisturbed" for row in rows
    ]
    lines = [f"| {rows[0]['variants']} variants, {rows[0]['workers']} workers | {' | '.join(heads)} |", "|---|--:|--:|"]
    for title, text in _TITLES.items():
        lines.append(f"| {title} | {' | '.join(text(row) for row in rows)} |")
    about = (
        f"{host['date']}, commit {host['commit']}, {host['cpu']}, {host['threads']} threads, load {host['load']} at the"
        f" end, Python {host['python']}."
    )
    return "\n".join([*lines, "", about]) + "\n"


_TITLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "stages": lambda row: f"{row['stages']:,}",
    "built twice": lambda row: f"{row['built_twice']}",
    "workers killed; stages cut off": lambda row: f"{row['killed']}; {row['cut_off']}",
    "wall s; work of all workers s": lambda row: f"{row['wall_seconds']:.1f}; {row['work_seconds']:.1f}",
    "overhead a stage, s of a worker": lambda row: f"{row['overhead_seconds']:.3f}",
    "idle while work exists, a pause: median s": lambda row: f"{row['idle_seconds']['median']:.3f}",
    "95th percentile s": lambda row: f"{row['idle_seconds']['p95']:.3f}",
    "most s": lambda row: f"{row['idle_seconds']['most']:.3f}",
    "peak MiB: client; scheduler; a worker": lambda row: "; ".join(
        f"{each / 2**20:.0f}" for each in row["peak_bytes"].values()
    ),
    "CPU ms a stage: client; scheduler; workers; cache server": lambda row: "; ".join(
        f"{1000 * each / row['stages']:.1f}" for each in row["cpu_seconds"].values()
    ),
    "answers of the cache a stage": lambda row: f"{row['answers'] / row['stages']:.1f}",
}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
