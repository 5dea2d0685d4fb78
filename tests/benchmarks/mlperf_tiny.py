"""MLPerf Tiny's five float networks as integers, built from specs/mlperf by the real doit.

    python -m tests.benchmarks.mlperf_tiny --models FOLDER --cifar10 cifar-10-binary.tar.gz
    python -m tests.benchmarks.mlperf_tiny keyword_spotting anomaly_detection

Without --models and --cifar10 the files are downloaded; the words need espeak-ng (Debian's package). The figures are
in tests/benchmarks/results/mlperf_tiny.json: a row for each network, which later runs replace. `agreement_percent` are
the answers of the .tflite that are those of the float network, `max_lsb` is against the fake-quantized graph. Only the
images of CIFAR-10 are MLPerf's data: see specs/mlperf/data.py for the others. Five minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import host

REPOSITORY = Path(__file__).parents[2]
RESULT = Path(__file__).parent / "results/mlperf_tiny.json"
NETWORKS = {
    "image_classification": "CIFAR-10",
    "visual_wake_words": "parts of two photographs, without labels",
    "keyword_spotting": "words synthesized by espeak-ng",
    "streaming_wakeword": "words synthesized by espeak-ng",
    "anomaly_detection": "synthesized sounds of machines",
}


def main(arguments: list[str]) -> int:
    """Build the networks, print and write a row for each; return 1 if one is not built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help=", ".join(NETWORKS))
    parser.add_argument("--models", type=Path, help="a folder that has the float networks, under any names")
    parser.add_argument("--cifar10", type=Path, help="the binary archive")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    rows = json.loads(options.out.read_text())["rows"] if options.out.is_file() else []
    ended = True
    for name in options.networks:
        row = _built(name, options)
        rows = [each for each in rows if each["network"] != name] + [row]
        sys.stdout.write(f"{json.dumps(row)}\n")
        sys.stdout.flush()
        ended = ended and "refused" not in row
        order = [*NETWORKS]
        result = {"rows": sorted(rows, key=lambda each: order.index(each["network"]))}
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if ended else 1


def _built(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Build a network in a project of its own, with labels and, for the agreement with float, without."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _project(root, name, options)
        started = time.perf_counter()
        labels = [f"mlperf/{path.stem}" for path in (root / "specs/mlperf").glob(f"{name}*.json")]
        command = [str(Path(sys.executable).with_name("doit")), *sorted(labels)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(REPOSITORY)])}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        row: dict[str, Any] = {"network": name, "data": NETWORKS[name], "host": host()}
        row["seconds"] = round(time.perf_counter() - started, 1)
        if done.returncode:
            return row | {"refused": (done.stderr + done.stdout)[-2000:]}
        reports = [json.loads((root / "build" / label / "report.json").read_text()) for label in sorted(labels)]
    report, agreed = reports[0], reports[-1]["metrics"].get("agreement")
    assert len({each["bytes"]["tflite"] for each in reports}) == 1, "the labels make no difference to the file"
    metrics = {name: each for name, each in report["metrics"].items() if name != "agreement"}
    return row | {
        "examples": report["examples"],
        "bytes": report["bytes"]["tflite"],
        "agreement_percent": agreed and agreed["tflite"],
        "max_lsb": report["agreement"]["max_lsb"],
        "metrics": {name: {form: each[form] for form in ("float", "tflite")} for name, each in metrics.items()},
    }


def _project(root: Path, name: str, options: argparse.Namespace) -> None:
    shutil.copyfile(REPOSITORY / "dodo.py", root / "dodo.py")
    specs = root / "specs/mlperf"
    specs.mkdir(parents=True)
    for path in [specs / f"{name}.json", specs / "data.py", specs / "sounds.py"]:
        shutil.copyfile(REPOSITORY / "specs/mlperf" / path.name, path)
    source = [] if options.models is None else ["--from", str(options.models.resolve())]
    fetch = [sys.executable, str(REPOSITORY / "specs/mlperf/fetch.py"), "--into", str(specs / "models"), *source]
    subprocess.run(fetch, check=True, capture_output=True)
    spec = json.loads((specs / f"{name}.json").read_text())
    if spec["dataset"]["name"] == "cifar10" and options.cifar10 is not None:
        shutil.copyfile(options.cifar10, specs / options.cifar10.name)
        spec["dataset"]["path"] = options.cifar10.name
        (specs / f"{name}.json").write_text(json.dumps(spec))
    if "labels" not in spec["dataset"] and "outputs" not in spec:
        spec["dataset"]["labels"], spec["evaluate"] = False, {"min_agreement": 0}
        (specs / f"{name}-unlabelled.json").write_text(json.dumps(spec))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
