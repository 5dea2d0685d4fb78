"""What the figures of a benchmark depend on."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path


def host() -> dict[str, object]:
    """Commit, date, processor, threads, the load that there was, Python."""
    root = Path(__file__).parents[2]
    git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    said = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    cpus = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(": ")[2] for line in cpus if line.startswith("model name")]
    return {
        "commit": said or "unknown",
        "date": time.strftime("%Y-%m-%d"),
        "cpu": names[0] if names else platform.machine(),
        "threads": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }
