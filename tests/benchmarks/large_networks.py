"""What a whole build of a large network takes, and in which stages: networks of keras.applications at 96x96.

    python -m tests.benchmarks.large_networks
    python -m tests.benchmarks.large_networks NASNetMobile --against ../other-checkout

The real doit builds a spec of 200 random pictures and 200 others for the test, with a few steps of float training and
ranges measured by ptq. Random pictures teach nothing, and what is asked is only where the time goes. With `--against`
a checkout of another commit, with an environment of its own in `.venv`, builds the same spec, each network in turns;
then `differ` are the published files, and the fields of report.json, that are not equal in both (without measured
times). CPU seconds are those of doit and all its processes, start included; they suffer less than the wall's from other
work on the machine, and on a busy one the same work takes up to twice as many of them. Results go into
tests/benchmarks/results/large_networks.json and .md, and into qatbuild/docs/benchmarks.md; rows of other commits and
networks stay there. Minutes for each network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.measure import commit_of, cost, host
from tests.benchmarks.table import RESULTS, publish

NETWORKS = ("MobileNetV2", "EfficientNetV2B0", "NASNetMobile")
STAGES = ("dataset", "check", "float", "quantize", "export", "freeze", "convert", "evaluate")
_SIZE_PX, _CLASSES, _PICTURES = 96, 10, 200
_STEPS, _BATCH = 5, 16
_LIMIT_SECONDS = 3600
_MIB = 2**20
_REPOSITORY = Path(__file__).parents[2]
_MEASURED = frozenset({"latency_ms", "latencies_ms"})
_NETWORK = """
import keras

def network(images, classes, *, training, name, preprocessing):
    build = getattr(keras.applications, name)
    options = {} if preprocessing else {"include_preprocessing": False}
    return build(input_shape=tuple(images.shape[1:]), weights=None, classes=classes, **options)
"""


def main(arguments: list[str]) -> int:
    """Build the networks, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, help="names in keras.applications")
    parser.add_argument("--against", type=Path, help="a checkout of another commit, with its .venv")
    parser.add_argument("--keep", type=Path, help="a folder in which the projects stay")
    parser.add_argument("--out", type=Path, default=RESULTS / "large_networks")
    options = parser.parse_args(arguments)
    checkouts = [each.absolute() for each in (options.against, _REPOSITORY) if each is not None]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).absolute()
        for network in options.networks:
            projects = [folder / f"{network}-{commit_of(checkout)}" for checkout in checkouts]
            built = [_built(*each, network) for each in zip(checkouts, projects, strict=True)]
            if len(built) > 1:
                built[-1]["differ"] = _differences(*projects)
            rows += built
            sys.stderr.write(f"{json.dumps(built, indent=1)}\n")
    file = options.out.with_suffix(".json")
    former = json.loads(file.read_text())["rows"] if file.is_file() else []
    made = {(row["network"], row["commit"]) for row in rows}
    rows += (row for row in former if (row["network"], row["commit"]) not in made)
    rows.sort(key=lambda row: (row["network"], row["date"]))
    result = {"host": host(), "rows": rows}
    publish(options.out, result, markdown(result))
    return 0


def _built(checkout: Path, project: Path, network: str) -> dict[str, Any]:
    """Build a network in an empty folder with the environment of a checkout."""
    shutil.rmtree(project, ignore_errors=True)
    (project / "specs").mkdir(parents=True)
    shutil.copyfile(checkout / "dodo.py", project / "dodo.py")
    (project / "pyproject.toml").write_text("[tool.qatbuild]\nstore = false\n")
    (project / "applications.py").write_text(_NETWORK)
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part in ("train", "test"):
        arrays[f"{part}_images"] = random.integers(0, 256, (_PICTURES, _SIZE_PX, _SIZE_PX, 3), np.uint8)
        arrays[f"{part}_labels"] = np.arange(_PICTURES) % _CLASSES
    np.savez(project / "specs/pictures.npz", **arrays)
    itself = network.startswith(("EfficientNetB", "ConvNeXt"))  # they always scale their input themselves
    options = {"name": network, "preprocessing": not network.startswith(("MobileNetV3", "EfficientNetV2"))}
    spec = {
        "dataset": {"name": "npz", "path": "pictures.npz", "validation": 0},
        "input": {"mean": 0, "std_dev": 1} if itself else {"mean": 128, "std_dev": 128},
        "model": {"call": "applications:network", "options": options},
        "train": {"steps": _STEPS, "batch_size": _BATCH, "learning_rate": {"initial": 0.001}},
        "quantize": {"method": "ptq", "scheme": "int8_per_channel", "calibration": {"images": _PICTURES}},
        "evaluate": {"max_accuracy_drop": 100},
    }
    (project / "specs/net.json").write_text(json.dumps(spec, indent=1))
    taken = cost([str(checkout / ".venv/bin/doit"), "net"], project, {}, limit_seconds=_LIMIT_SECONDS)
    runs = {file.name.partition(".")[0]: json.loads(file.read_text()) for file in project.glob("build/**/*.run.json")}
    return {
        "network": network,
        "commit": commit_of(checkout),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "load": round(os.getloadavg()[0], 1),
        "wall_seconds": round(taken.wall_seconds, 1),
        "cpu_seconds": round(taken.cpu_seconds, 1),
        "peak_bytes": max(run["peak_memory_bytes"] for run in runs.values()),
        "stages": {stage: {name: runs[stage][name] for name in ("seconds", "peak_memory_bytes")} for stage in STAGES},
    }


def _differences(one: Path, other: Path) -> list[str]:
    """Return the names of published files with other bytes, and the report's fields with other values."""
    files, others = _digests(one), _digests(other)
    differ = sorted(name for name in files.keys() | others.keys() if files.get(name) != others.get(name))
    report, second = (json.loads((each / "build/net/report.json").read_text()) for each in (one, other))
    fields = sorted((report.keys() | second.keys()) - _MEASURED)
    return [*differ, *(f"report.json: {name}" for name in fields if report.get(name) != second.get(name))]


def _digests(project: Path) -> dict[str, str]:
    """Return the SHA-256 of each published file without times, by stage and name."""
    digests: dict[str, str] = {}
    for file in sorted((project / "build").glob("*/**/*.manifest.json")):
        stage = file.name.removesuffix(".manifest.json")
        listed = json.loads(file.read_text())["files"]
        digests |= {f"{stage}: {name}": digest for name, (_, digest) in listed.items() if digest}
    return digests


def markdown(result: dict[str, Any]) -> str:
    """A line for each network and commit: seconds of the build, and of each stage, and the largest stage's memory."""
    head = ("network", "commit", "load", "s", "CPU s", "peak MiB", *(f"{stage} s" for stage in STAGES))
    lines = [f"| {' | '.join(head)} |", "|---|---|" + "--:|" * (len(head) - 2)]
    for row in result["rows"]:
        cells = [
            row["network"],
            row["commit"],
            "" if row["load"] is None else f"{row['load']:.0f}",
            f"{row['wall_seconds']:.0f}",
            f"{row['cpu_seconds']:.0f}",
        ]
        cells.append(f"{row['peak_bytes'] / _MIB:,.0f}")
        cells += [f"{row['stages'][stage]['seconds']:.1f}" for stage in STAGES]
        lines.append(f"| {' | '.join(cells)} |")
    about = result["host"]
    machine = f"{about['cpu']}, {about['threads']} threads"
    return "\n".join([*lines, "", f"{about['date']}, {machine}, Python {about['python']}."]) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
