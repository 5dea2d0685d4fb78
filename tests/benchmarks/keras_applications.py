"""Whole networks of keras.applications, and Keras files, built by the real doit: what they become, and in what time.

    python -m tests.benchmarks.keras_applications InceptionV3
    python -m tests.benchmarks.keras_applications --all
    python -m tests.benchmarks.keras_applications ../shared/models/mlperf_tiny_vww.h5

Networks are without Keras' weights, at the smallest size that their function takes, and know scikit-learn's 8 x 8
digits, enlarged bilinearly to three equal channels: 1,437 images fit them, 360 others test. A network that decides
nothing says nothing here: its logits are nearly equal, and any step of rounding changes the class. So top1 is in the
row beside the agreement. How a network comes to decide was compared:

    training, 300 steps     EfficientNetB0: float top1 71 %, agreement 74 %; 500 s of a busy machine
    training, 600 steps     MobileNetV2 95 % and 99.7 %, EfficientNetB0 90 % and 94.7 %; 125 s and 430 s
    batch norms settled,    top1 in float 89 % to 97 %, but MobileNetV2's features of two images differ by 1/20,000
    a fitted head           of their range: 8 bits do not tell them apart
    kernels scaled, too     (settled_networks.py) MobileNetV2 97 %, ResNet50 97 %, EfficientNetB0 94 %; 10 s
    that, and 300 steps     EfficientNetB0 97.8 % and 100 %, V2B0 98.1 % and 100 %; 40 s. MobileNetV3Small 75 %: its
                            batch norms have a momentum of 0.999, and do not follow so short a training

The one before the last is taken, and for two networks the last (`_STEPS`); `--steps` is for other choices. Each is
quantized by ptq with 128 images. A file is quantized as it is, on the same digits. `--methods qat` trains on for a few
hundred steps (Adam, see `_TRAIN`).

The figures are in tests/benchmarks/results/keras_applications.json, a row for each model and number of steps, which
later runs replace or add to, and the table of the networks in qatbuild/docs/benchmarks.md; a model that was refused has
the reasons in its row. `agreement` is that of the .tflite with its own fake-quantized graph over the whole network, in
which the steps of a hundred layers add up; `float64` that of the .tflite, and of the graph in float32, with the graph
in float64 (see double_graph.py); `kernels` that of the same .tflite on two of LiteRT's own sets of kernels, which round
halves differently. `worst_operator` is the operator that differs most from the fake-quantized one on the same inputs.
`seconds` are those of all stages. A minute or two for each network; with `--keep FOLDER` the projects stay there and
are used again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from qatbuild.worker.datasets import digits
from qatbuild.worker.datasets.rows import InMemory
from qatbuild.worker.datasets.source import Source
from tests.benchmarks.measure import host
from tests.benchmarks.table import publish

RESULT = Path(__file__).parent / "results/keras_applications.json"
METHODS = ("ptq", "qat")
SMALLEST = {
    "MobileNetV3Small": 32,
    "MobileNetV3Large": 32,
    "MobileNetV2": 32,
    "MobileNet": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "InceptionV3": 75,
    "Xception": 71,
    "NASNetMobile": 32,
}
"""The networks of the table, and the pixels of the smallest images that they take with include_top."""

_STEPS = {"EfficientNetB0": 300, "EfficientNetV2B0": 300}
"""What decides narrowly when it is only settled is trained: so many steps in float."""

_REPOSITORY = Path(__file__).parents[2]
IN_TABLE = ("ptq", "int8_per_channel")
_HEAD = (
    "network, px", "steps", "bytes", "float %", "fake-quant %", ".tflite %", "agreement %", "rms LSB", "in float64 %",
    "graph with itself %", "LiteRT with itself %", "rms LSB", "worst operator LSB", "s",
)  # fmt: skip
_TRAIN = {
    "steps": 300,
    "batch_size": 32,
    "optimizer": {"name": "adam"},
    "learning_rate": {"schedule": "cosine", "initial": 0.0005},
}
_CALIBRATION_IMAGES = 128
_DIGITS = 10
_FAILED = " FAILED"
_LAST_LINES = 20


def main(arguments: list[str]) -> int:
    """Builds the models, prints a line for each, writes the results; returns 1 if one was not built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="names in keras.applications, or Keras files")
    parser.add_argument("--all", action="store_true", help="the networks of the table")
    parser.add_argument("--methods", nargs="+", default=METHODS[:1], choices=METHODS)
    parser.add_argument("--steps", type=int, help="of a training of the networks, 0 for none; by default as in _STEPS")
    parser.add_argument("--scheme", default="int8_per_channel")
    parser.add_argument("--keep", type=Path, help="a folder in which the projects stay")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {"host": host(), "rows": []}
    if options.out.is_file():
        result = json.loads(options.out.read_text())
    ended = True
    for model in [*options.models, *(SMALLEST if options.all else ())]:
        for method in options.methods:
            row = _built(model, method, options)
            rows = [each for each in result["rows"] if _key(each) != _key(row)] + [row]
            sys.stdout.write(f"{json.dumps(row)}\n")
            sys.stdout.flush()
            ended = ended and "refused" not in row
            result = {"host": row["host"], "rows": sorted(rows, key=_key)}
            options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    publish(options.out.with_suffix(""), result, markdown(result))
    return 0 if ended else 1


def markdown(result: dict[str, Any]) -> str:
    """A line for each network of `SMALLEST` that has a row: what it became, and how far it is from its graph."""
    rows = [row for row in result["rows"] if row["model"] in SMALLEST and (row["method"], row["scheme"]) == IN_TABLE]
    lines = ["| " + " | ".join(_HEAD) + " |", "|---|" + "--:|" * (len(_HEAD) - 1)]
    lines += map(_line, sorted(rows, key=_key))
    commits = ", ".join(sorted({row["host"]["commit"] for row in rows}))
    about = result["host"]
    return (
        "\n".join([*lines, "", f"{about['date']}, commit {commits}, {about['cpu']}, {about['threads']} threads."])
        + "\n"
    )


def _line(row: dict[str, Any]) -> str:
    name = f"{row['model']}, {row['pixels']}"
    if "refused" in row:
        return f"| {name} | refused: {'; '.join(row['refused'])} |" + " |" * (len(_HEAD) - 2)
    top1, agreement, kernels = row["top1"], row["agreement"], row["kernels"]
    cells = [
        name,
        f"{row.get('steps', 0)}",
        f"{row['bytes']:,}",
        *(f"{top1[name]:.1f}" for name in ("float", "fake_quant", "tflite")),
        f"{agreement['top1_percent']:.2f}",
        f"{agreement['rmse_lsb']:.2f}",
        *(f"{row['float64'][name]['top1_percent']:.2f}" if "float64" in row else "" for name in ("tflite", "float32")),
        f"{kernels['top1_percent']:.2f}",
        f"{kernels['rmse_lsb']:.2f}",
        f"{row['worst_operator']['lsb']:.2f}",
        f"{row['seconds']:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _key(row: dict[str, Any]) -> tuple[str, str, str, int]:
    return row["model"], row["method"], row["scheme"], row.get("steps", 0)


def _built(model: str, method: str, options: argparse.Namespace) -> dict[str, Any]:
    """Builds a model in a project of its own."""
    steps = _STEPS.get(model, 0) if options.steps is None else options.steps
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if options.keep is not None:
            root = options.keep.absolute() / f"{Path(model).stem}-{method}-{steps}"
            root.mkdir(parents=True, exist_ok=True)
        pixels = _project(root, model, method, options.scheme, steps)
        row: dict[str, Any] = {
            "model": Path(model).name,
            "method": method,
            "scheme": options.scheme,
            "pixels": pixels,
            "steps": steps,
            "host": host(),
        }
        command = [str(Path(sys.executable).with_name("doit")), "net"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        runs = [json.loads(each.read_text()) for each in (root / "build").glob("**/*.run.json")]
        row["seconds"] = round(sum(run["seconds"] for run in runs), 1)
        report = root / "build/net/report.json"
        if done.returncode or not report.is_file():
            return row | {"refused": _refusal(done.stdout + done.stderr)}
        file, images = root / "build/net/model.tflite", root / "specs/digits.npz"
        row |= _figures(json.loads(report.read_text())) | _measured("litert_kernels", file, images)
        if model in SMALLEST:
            row["float64"] = _measured("double_graph", root / "build/net/frozen_graph.pb", file, images)
        return row


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    worst = max(report["layers"], key=lambda each: each["max_lsb"]["same_inputs"] or 0)
    return {
        "bytes": report["bytes"]["tflite"],
        "examples": report["examples"],
        "top1": report["top1"],
        "agreement": report["agreement"],
        "worst_operator": {
            "name": worst["name"],
            "operator": worst["operator"],
            "lsb": worst["max_lsb"]["same_inputs"],
        },
        "not_compared": sum(each["max_lsb"]["same_inputs"] is None for each in report["layers"]),
    }


def _refusal(said: str) -> list[str]:
    """Returns an error from its message to its hint, one layer for each reason, or the last lines of what was said."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    failed = next((index for index, line in enumerate(lines) if line.endswith(_FAILED)), None)
    if failed is None:
        return lines[-_LAST_LINES:]
    block = lines[failed + 1 :]
    block = block[: next((index for index, line in enumerate(block) if line.startswith("hint:")), _LAST_LINES)]
    return list({line.partition(": ")[2] or line: line for line in reversed(block)}.values())[::-1]


def _measured(program: str, *files: Path) -> dict[str, Any]:
    """Runs a program of this package, in a process of its own; returns the figures that it prints."""
    command = [sys.executable, "-m", f"tests.benchmarks.{program}", *map(str, files)]
    said = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, text=True, check=True).stdout
    figures: dict[str, Any] = json.loads(said)
    return figures


def _project(root: Path, model: str, method: str, scheme: str, steps: int) -> int:
    """Writes a project with one spec, which trains for `steps` in float; returns the height of its images."""
    shutil.copyfile(_REPOSITORY / "dodo.py", root / "dodo.py")
    (root / "specs").mkdir(exist_ok=True)
    quantize: dict[str, Any] = {"method": method, "scheme": scheme}
    quantize |= {"calibration": {"images": _CALIBRATION_IMAGES}} if method == "ptq" else _training()
    spec: dict[str, Any] = {
        "dataset": {"name": "npz", "path": "digits.npz", "validation": 0},
        "quantize": quantize,
        "evaluate": {"max_accuracy_drop": 100, "latency_runs": 2},
    }
    spec |= {"train": {**_TRAIN, "steps": steps}} if steps else {}
    applied = model in SMALLEST
    shape, classes = ((SMALLEST[model], SMALLEST[model], 3), _DIGITS) if applied else _shape_of(model)
    data = root / "specs/digits.npz"
    if not data.is_file():
        np.savez(data, **_digits(shape, classes))
    file = root / "specs" / (f"{model}.keras" if applied else Path(model).name)
    if not applied:
        shutil.copyfile(model, file)
    elif not file.is_file():
        program = [sys.executable, "-m", "tests.benchmarks.settled_networks", model, str(data), str(file)]
        subprocess.run(program, cwd=_REPOSITORY, check=True)
    spec |= {"model": {"keras": file.name}, "input": scaling(model) if applied else {"mean": 0, "std_dev": 255}}
    (root / "specs/net.json").write_text(json.dumps(spec))
    return shape[0]


def scaling(model: str) -> dict[str, float]:
    """The input of a network of keras.applications: some scale it themselves, and take bytes."""
    itself = model.startswith(("MobileNetV3", "EfficientNet", "ConvNeXt"))
    return {"mean": 0, "std_dev": 1} if itself else {"mean": 127.5, "std_dev": 127.5}


def _training() -> dict[str, Any]:
    return {name: value for name, value in _TRAIN.items() if name in {"steps", "learning_rate"}}


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


def _digits(shape: tuple[int, int, int], classes: int) -> dict[str, Any]:
    """Returns the digits as images uint8 [n, height, width, channels], and their values, modulo `classes`."""
    arrays: dict[str, Any] = {}
    for part, columns in digits.load(Source("digits"), Path()).splits.items():
        small, labels = (_array(columns[name]) for name in ("images", "labels"))
        size = (shape[1], shape[0])
        large = [np.asarray(Image.fromarray(each[..., 0]).resize(size, Image.Resampling.BILINEAR)) for each in small]
        arrays[f"{part}_images"] = np.repeat(np.stack(large)[..., np.newaxis], shape[2], axis=-1)
        arrays[f"{part}_labels"] = labels % classes
    return arrays


def _array(rows: Any) -> np.ndarray[Any, Any]:
    assert isinstance(rows, InMemory)
    return rows.array


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
