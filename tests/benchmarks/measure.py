"""Time and memory of a command with its child processes, and the machine that it ran on."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """Wall and CPU (user + system) seconds; `peak_bytes` is the largest resident set of any one process."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


class FailedRunError(Exception):
    """The command failed or exceeded its time limit."""


def cost(command: Sequence[str], folder: Path, environment: dict[str, str], *, limit_seconds: float = 900) -> Cost:
    """Run a command to its end in `folder`."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with (folder / "output.txt").open("w") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env={**kept, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        status, usage = _wait(process.pid, started + limit_seconds)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise FailedRunError(
            f"{' '.join(command)}: {process.returncode}\n{(folder / 'output.txt').read_text()[-2000:]}"
        )
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _wait(pid: int, deadline: float) -> tuple[int, resource.struct_rusage]:
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return status, usage
        if time.perf_counter() > deadline:
            os.kill(pid, 9)
            os.wait4(pid, 0)
            raise FailedRunError("stopped: it took too long")
        time.sleep(0.0005)


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each figure by itself."""
    return Cost(
        statistics.median(item.wall_seconds for item in costs),
        statistics.median(item.cpu_seconds for item in costs),
        int(statistics.median(item.peak_bytes for item in costs)),
    )


def commit_of(checkout: Path) -> str:
    """The commit of a checkout; `-dirty` if its code differs from it, not the results that a benchmark writes."""
    git = ["git", "-C", str(checkout)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode:
        return "unknown"
    code = [":/", ":(top,exclude)tests/benchmarks/results", ":(top,exclude)qatbuild/docs"]
    is_equal = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *code], check=False).returncode == 0
    return commit.stdout.strip() + ("" if is_equal else "-dirty")


def host() -> dict[str, object]:
    """The machine and the versions that the figures depend on."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(": ")[2] for line in cpus if line.startswith("model name")]
    return {
        "commit": commit_of(Path(__file__).parents[2]),
        "date": time.strftime("%Y-%m-%d"),
        "cpu": names[0] if names else platform.machine(),
        "threads": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }
