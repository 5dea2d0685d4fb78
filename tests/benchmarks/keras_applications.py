"""Whole networks of keras.applications, and Keras files, built by the real doit: what they become, and in what time.

    python -m tests.benchmarks.keras_applications InceptionV3
    python -m tests.benchmarks.keras_applications MobileNetV3Small --input '{"mean": 0, "std_dev": 1}'
    python -m tests.benchmarks.keras_applications ../shared/models/mlperf_tiny_vww.h5

Networks begin with random weights, at 96 x 96 pixels, and are trained for a few steps on random pictures of three
kinds of stripes; each is quantized by ptq and by a few steps of qat. A file is quantized as it is. The figures are in
tests/benchmarks/results/keras_applications.json: a row for each model, which later runs replace or add to; a model
that was refused has the refusal in its row. Networks with random weights are not sure of any class, so max_lsb says
more of them than top1_percent. Minutes for each network.
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

import numpy as np

from tests.benchmarks.measure import host

RESULT = Path(__file__).parent / "results/keras_applications.json"
METHODS = ("ptq", "qat")
_NETWORK = """
import keras

def network(images, classes, *, training, name, options):
    build = getattr(keras.applications, name)
    return build(input_shape=tuple(images.shape[1:]), weights=None, classes=classes, **options)
"""


def main(arguments: list[str]) -> int:
    """Builds the models, prints a line for each, writes the results; returns 1 if one was not built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names in keras.applications, or Keras files")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--scheme", default="int8_per_channel")
    parser.add_argument("--size", type=int, default=96, help="pixels, for networks of keras.applications")
    parser.add_argument("--steps", type=int, default=3, help="of the float training, and of qat")
    parser.add_argument("--options", type=json.loads, default={}, help="for the network's function, as JSON")
    parser.add_argument("--input", type=json.loads, help="the spec's input, as JSON, for a network that scales bytes")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    rows = json.loads(options.out.read_text())["rows"] if options.out.is_file() else []
    ended = True
    for model in options.models:
        for method in options.methods:
            row = _built(model, method, options)
            rows = [each for each in rows if _key(each) != _key(row)] + [row]
            sys.stdout.write(f"{json.dumps(row)}\n")
            sys.stdout.flush()
            ended = ended and "refused" not in row
            result = {"rows": sorted(rows, key=_key)}
            options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if ended else 1


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["model"], row["method"], row["scheme"]


def _built(model: str, method: str, options: argparse.Namespace) -> dict[str, Any]:
    """Builds a model in a project of its own."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _project(root, model, method, options)
        started = time.perf_counter()
        command = [str(Path(sys.executable).with_name("doit")), "net"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        row: dict[str, Any] = {"model": Path(model).name, "method": method, "scheme": options.scheme, "host": host()}
        if options.options:
            row["options"] = options.options
        if options.input:
            row["input"] = options.input
        row["seconds"] = round(time.perf_counter() - started, 1)
        report = root / "build/net/report.json"
        if done.returncode or not report.is_file():
            return row | {"refused": (done.stdout + done.stderr)[-2000:]}
        facts = json.loads(report.read_text())
        return row | {
            "bytes": facts["bytes"]["tflite"],
            "agreement": facts["agreement"],
            "operators": _operators(root / "build/net/model.tflite"),
        }


def _operators(path: Path) -> dict[str, int]:
    """Counts a file's operators by name, in a process of its own: TensorFlow takes memory that the next build needs."""
    program = (
        "import collections, json, pathlib, sys; from qatbuild.worker.tflite import inspect;"
        "names = [each.name for each in inspect.read(pathlib.Path(sys.argv[1])).operators];"
        "print(json.dumps(collections.Counter(sorted(names))))"
    )
    said = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True).stdout
    counts: dict[str, int] = json.loads(said)
    return counts


def _project(root: Path, model: str, method: str, options: argparse.Namespace) -> None:
    shutil.copyfile(Path(__file__).parents[2] / "dodo.py", root / "dodo.py")
    (root / "applications.py").write_text(_NETWORK)
    shape, classes, source = (options.size, options.size, 3), 3, {"call": "applications:network"}
    (root / "specs").mkdir()
    scaled: dict[str, Any] = options.input or {"mean": 128, "std_dev": 128}
    if Path(model).suffix in {".h5", ".keras"}:
        shutil.copyfile(model, root / "specs" / Path(model).name)
        shape, classes = _shape_of(model)
        source, scaled = {"keras": Path(model).name}, {"mean": 0, "std_dev": 255}
    else:
        source = {**source, "options": {"name": model, "options": options.options}}  # type: ignore[dict-item]
    arrays: dict[str, Any] = {}
    for part, count in (("train", 64), ("test", 32)):
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = _pictures(count, shape, classes)
    np.savez(root / "specs/pictures.npz", **arrays)
    rate = {"initial": 0.001}
    quantize: dict[str, Any] = {"method": method, "scheme": options.scheme}
    quantize |= {"calibration": {"images": 32}} if method == "ptq" else {"steps": options.steps, "learning_rate": rate}
    spec = {
        "dataset": {"name": "npz", "path": "pictures.npz"},
        "input": scaled,
        "model": source,
        "quantize": quantize,
        "evaluate": {"max_accuracy_drop": 100, "latency_runs": 2},
    }
    if "keras" not in source:
        spec["train"] = {"steps": options.steps, "batch_size": 8, "learning_rate": rate}
    (root / "specs/net.json").write_text(json.dumps(spec))


def _shape_of(model: str) -> tuple[tuple[int, int, int], int]:
    """Returns the shape of a Keras file's images, and the number of its classes."""
    program = (
        "import json, pathlib, sys; from qatbuild.worker.models import keras_files;"
        "model = keras_files.load(pathlib.Path(sys.argv[1])).model;"
        "print(json.dumps([model.input_shape[1:], model.output_shape[-1]]))"
    )
    said = subprocess.run([sys.executable, "-c", program, model], capture_output=True, text=True, check=True).stdout
    shape, classes = json.loads(said)
    return (shape[0], shape[1], shape[2]), classes


def _pictures(count: int, shape: tuple[int, int, int], classes: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Returns noise with stripes of three kinds, uint8 [count, height, width, channels], and the kinds."""
    random = np.random.default_rng(count)
    labels = np.arange(count) % classes
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    stripes = np.stack([rows // 4 % 2, columns // 4 % 2, (rows + columns) // 4 % 2])[labels % 3]
    images = random.normal(100, 25, (count, *shape)) + 70 * stripes[..., None]
    return np.clip(images, 0, 255).astype(np.uint8), labels


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
