"""Memory, bytes and waiting with many pictures: one spec on ever more JPEG files, built by the real doit.

    python -m tests.benchmarks.pictures --counts 10000 100000

The pictures are 224x224 JPEGs of about 12 kB in ten folders, all different files: of a few hundred pictures each is
written many times, with its number in a comment of the JPEG. The spec trains MobileNet v1 of a quarter of the
width for a few steps of 32 pictures, in float and by qat, calibrates it (ptq), converts and evaluates it. Three
hundredths of the pictures are for validation, one for the test. With the fewest pictures it is built a second time at
96x96; what decoding costs is measured by tests.benchmarks.decoding, and a float training alone and beside another that
reads the same pictures, each time with a cold page cache.

A first project with a hundred pictures shows what the training step itself takes: there is nothing else to hold. Peak
memory is that of each stage's process (`peak_memory_bytes` in run.json); waiting is the figure of the training's log.
Results go into tests/benchmarks/results/pictures.json and .md, and into qatbuild/docs/benchmarks.md. With 100,000
pictures it takes a third of an hour and 3 GB.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.measure import Cost, FailedRunError, cost, host
from tests.benchmarks.shared_pages import cached_bytes, drop
from tests.benchmarks.table import RESULTS, publish

STEP_ALONE = 100
"""Pictures of the project that shows what a training step itself takes."""

CLASSES = 10
_SIZE_PX, _SMALL_PX = 224, 96
_DIFFERENT = 20
_BATCH = 32
_LIMIT_SECONDS = 3600
_TEST, _VALIDATION = 0.01, 0.03
"""Parts of the pictures. Of 300 and more, validation takes several batches in each project: one alone takes less."""
_WAITING = re.compile(r"([\d.]+) % of the time waiting for data")
_VARIANTS = {"qat": {}, "ptq": {"quantize": {"method": "ptq"}}}
_MIB = 2**20
_NETWORK = """
import tensorflow as tf
from qatbuild.worker.models import layers, mobilenet

def network(images, classes, *, training):
    \"\"\"MobileNet v1 (Howard et al. 2017, table 1) of a quarter of the width.\"\"\"
    norm = layers.batch_norm(training=training)
    net = layers.conv(images, 8, 3, scope="Conv2d_0", stride=2, activation=tf.nn.relu6, bias=None, norm=norm)
    for number, (full, stride) in enumerate(mobilenet._SEPARABLE, start=1):
        net = layers.depthwise(net, 3, scope=f"Conv2d_{number}_depthwise", stride=stride, bias=None, norm=norm)
        point = {"scope": f"Conv2d_{number}_pointwise", "activation": tf.nn.relu6}
        net = layers.conv(net, full // 4, 1, bias=None, norm=norm, **point)
    net = layers.flatten(layers.global_average_pool(net, scope="pool"))
    return layers.dense(net, classes, scope="Logits", activation=None)
"""


def main(arguments: list[str]) -> int:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", nargs="+", type=int, default=[10_000, 100_000])
    parser.add_argument("--steps", type=int, default=60, help="of the float training, and of qat")
    parser.add_argument("--folder", type=Path, help="for the projects, which are kept; else a temporary one")
    parser.add_argument("--out", type=Path, default=RESULTS / "pictures")
    options = parser.parse_args(arguments)
    rows, decoding, trainings = [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        for count in (STEP_ALONE, *options.counts):
            project = (options.folder or Path(temporary)) / str(count)
            made_bytes = make(project / "specs/pictures", count)
            for size in (_SIZE_PX, _SMALL_PX) if count == min(options.counts) else (_SIZE_PX,):
                rows.append(_measured(project, count, size, made_bytes, options.steps))
                sys.stderr.write(f"{json.dumps(rows[-1], indent=1)}\n")
                if count == min(options.counts):
                    decoding.append({"size_px": size, **_decoding(project, options.steps)})
                    sys.stderr.write(f"{json.dumps(decoding[-1])}\n")
            if count == min(options.counts):
                trainings = [_side_by_side(project, options.steps, names) for names in (("a",), ("a", "b"))]
                sys.stderr.write(f"{json.dumps(trainings, indent=1)}\n")
            if options.folder is None:
                shutil.rmtree(project)
    result = {
        "host": {**host(), "cores": os.cpu_count()},
        "batch": _BATCH,
        "steps": options.steps,
        "rows": rows,
        "decoding": decoding,
        "trainings": trainings,
    }
    publish(options.out, result, markdown(result))
    return 0


def make(folder: Path, count: int) -> int:
    """Write `count` JPEG files, a hundredth of them for the test; return their bytes. A complete folder is kept."""
    tested = max(CLASSES, round(count * _TEST))
    total_bytes = 0
    for split, of_split in (("train", count - tested), ("test", tested)):
        for label, contents in enumerate(_distinct()):
            place = folder / split / f"class-{label}"
            place.mkdir(parents=True, exist_ok=True)
            for number in range(label, of_split, CLASSES):
                content = next(contents)
                file = place / f"{number:06d}.jpg"
                if not file.is_file():
                    file.write_bytes(content)
                total_bytes += len(content)
    return total_bytes


def _distinct() -> Iterator[Iterator[bytes]]:
    """Yield for each class an endless iterator over pictures, of which no two are the same bytes."""
    from PIL import Image  # noqa: PLC0415

    random = np.random.default_rng(0)

    def contents(label: int) -> Iterator[bytes]:
        pictures = []
        for _ in range(_DIFFERENT):
            rough = random.integers(0, 256, (28, 28, 3))
            rough[:, label * 28 // CLASSES] = 255
            picture = Image.fromarray(rough.astype(np.uint8)).resize((_SIZE_PX, _SIZE_PX), Image.Resampling.BICUBIC)
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=80)
            pictures.append(stream.getvalue())
        number = 0
        while True:
            comment = b"%012d" % number
            segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
            content = pictures[number % _DIFFERENT]
            yield content[:2] + segment + content[2:]  # Behind the mark that begins the picture.
            number += 1

    return (contents(label) for label in range(CLASSES))


def _measured(project: Path, count: int, size: int, source_bytes: int, steps: int) -> dict[str, Any]:
    """Build the spec in an empty build folder, and again with nothing to do."""
    _write_project(project, size, steps)
    shutil.rmtree(project / "build", ignore_errors=True)
    build, no_op = _doit(project), _doit(project)
    stages = {name: json.loads(file.read_text()) for name, file in _runs(project).items()}
    logs = {name: file.with_name("log.txt").read_text(encoding="utf-8") for name, file in _runs(project).items()}
    waiting = {name: float(each[-1]) for name, log in logs.items() if (each := _WAITING.findall(log))}
    written = sum(file.stat().st_size for file in project.glob("build/shared/dataset-*/**/*") if file.is_file())
    return {
        "pictures": count,
        "size_px": size,
        "source_bytes": source_bytes,
        "dataset_bytes": written,
        "peak_bytes": {name: run["peak_memory_bytes"] for name, run in stages.items()},
        "seconds": {name: run["seconds"] for name, run in stages.items()},
        "waiting_percent": waiting,
        "doit": {"seconds": round(build.wall_seconds, 1), "cpu_seconds": round(build.cpu_seconds, 1)},
        "no_op": {"peak_bytes": no_op.peak_bytes, "seconds": round(no_op.wall_seconds, 2)},
    }


def _write_project(project: Path, size: int, steps: int) -> None:
    root = Path(__file__).parents[2]
    shutil.copyfile(root / "dodo.py", project / "dodo.py")
    (project / "pyproject.toml").write_text("[tool.qatbuild]\nstore = false\n")
    (project / "own_network.py").write_text(_NETWORK)
    rate = {"initial": 0.01}
    scaled = {} if size == _SIZE_PX else {"size": [size, size]}
    spec = {
        "dataset": {"name": "images", "path": "pictures", "validation": _VALIDATION, **scaled},
        "input": {"mean": 128, "std_dev": 64},
        "augment": {"flip_left_right": True},
        "model": {"call": "own_network:network"},
        "train": {"steps": steps, "batch_size": _BATCH, "learning_rate": rate, "checkpoint_every": steps},
        "quantize": {"steps": steps, "learning_rate": rate, "checkpoint_every": steps},
        "evaluate": {"max_accuracy_drop": 100, "latency_runs": 5},
        "variants": _VARIANTS,
    }
    (project / "specs/pictures.json").write_text(json.dumps(spec, indent=1))


def _decoding(project: Path, steps: int) -> dict[str, Any]:
    """Measure what decoding costs with the dataset of a project that was built."""
    (dataset,) = project.glob("build/shared/dataset-*")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.benchmarks.decoding", str(dataset), "own_network:network", str(steps // 2)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedRunError(done.stderr[-2000:])
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _side_by_side(project: Path, steps: int, variants: tuple[str, ...]) -> dict[str, Any]:
    """Run float trainings at the same time, which read the same pictures, with a cold page cache."""
    rates = {name: {"train": {"learning_rate": {"initial": rate}}} for name, rate in (("a", 0.01), ("b", 0.02))}
    both = {"extends": "pictures.json", "variants": {**dict.fromkeys(_VARIANTS), **rates}}
    (project / "specs/both.json").write_text(json.dumps(both, indent=1))
    (dataset,) = project.glob("build/shared/dataset-*")
    for folder in project.glob("build/shared/float-*"):
        shutil.rmtree(folder)
    drop(dataset)
    before = cached_bytes(dataset)
    done = _doit(project, "-n", str(len(variants)), *(f"both@{name}:float" for name in variants))
    runs = [json.loads(file.read_text()) for file in project.glob("build/shared/float-*/float.run.json")]
    return {
        "trainings": len(runs),
        "steps": steps,
        "peak_bytes": sorted(run["peak_memory_bytes"] for run in runs),
        "seconds": sorted(run["seconds"] for run in runs),
        "cached_bytes": cached_bytes(dataset),
        "cached_before_bytes": before,
        "doit_seconds": round(done.wall_seconds, 1),
    }


def _doit(project: Path, *arguments: str) -> Cost:
    command = [sys.executable, "-m", "doit", *(arguments or ("pictures",))]
    return cost(command, project, {"PYTHONPATH": str(Path(__file__).parents[2])}, limit_seconds=_LIMIT_SECONDS)


def _runs(project: Path) -> dict[str, Path]:
    """Return the run.json of each stage; those of the variant ptq as STAGE@ptq."""
    return {_name(file): file for file in sorted(project.glob("build/**/*.run.json"))}


def _name(file: Path) -> str:
    stage = file.name.removesuffix(".run.json")
    calibrated = stage == "quantize" and not _WAITING.search(file.with_name("log.txt").read_text(encoding="utf-8"))
    return f"{stage}@ptq" if calibrated or file.parent.name.endswith("@ptq") else stage


def markdown(result: dict[str, Any]) -> str:
    """Peak MiB of every stage by the number of pictures; and bytes, seconds and waiting of each project."""
    host, rows = result["host"], result["rows"]
    large = [row for row in rows if row["size_px"] == _SIZE_PX]
    fewest, most = large[1], large[-1]
    counts = [f"{row['pictures']:,}" for row in large]
    lines = [f"| peak MiB, {_SIZE_PX}x{_SIZE_PX} | {' | '.join(counts)} | {counts[-1]} / {counts[1]} |"]
    lines.append("|---|" + "--:|" * (len(large) + 1))
    for stage in sorted(most["peak_bytes"], key=_order):
        cells = [f"{row['peak_bytes'][stage] / _MIB:.0f}" for row in large]
        lines.append(
            f"| {stage} | {' | '.join(cells)} | {most['peak_bytes'][stage] / fewest['peak_bytes'][stage]:.3f} |"
        )
    cells = [f"{row['no_op']['peak_bytes'] / _MIB:.0f}" for row in large]
    ratio = most["no_op"]["peak_bytes"] / fewest["no_op"]["peak_bytes"]
    lines.append(f"| doit itself, nothing to do | {' | '.join(cells)} | {ratio:.3f} |")
    head = ("pictures", "size", "dataset / source bytes", "dataset s", "waiting %, float", "waiting %, qat", "doit s")
    lines += ["", f"| {' | '.join((*head, 'no-op s'))} |", "|--:" * (len(head) + 1) + "|"]
    for row in rows:
        waits, seconds = row["waiting_percent"], row["seconds"]
        ratio = row["dataset_bytes"] / row["source_bytes"]
        cells = [f"{row['pictures']:,}", f"{row['size_px']}", f"{ratio:.3f}", f"{seconds['dataset']:.1f}"]
        cells += [f"{waits['float']:.1f}", f"{waits['quantize']:.1f}"]
        cells += [f"{row['doit']['seconds']:.0f}", f"{row['no_op']['seconds']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [*_decoding_lines(result.get("decoding", [])), *_training_lines(result.get("trainings", []))]
    machine = f"{host['cpu']}, {host['cores']} cores, load {host['load']} at the end, Python {host['python']}"
    about = (
        f"MobileNet v1, width 0.25, batch {result['batch']}, {result['steps']} steps of float and of qat. "
        f"{host['date']}, commit {host['commit']}, {machine}."
    )
    return "\n".join([*lines, "", about]) + "\n"


def _decoding_lines(rows: list[dict[str, Any]]) -> list[str]:
    """What decoding costs."""
    if not rows:
        return []
    head = "| size | pictures/s, all cores alone | steps/s with decoding | steps/s from arrays | of that |"
    lines = ["", head, "|--:" * 5 + "|"]
    for row in rows:
        rates = row["steps_per_second"]
        part = f"{100 * rates['pictures'] / rates['arrays']:.0f} %"
        cells = [f"{row['size_px']}", f"{row['pictures_per_second']:.0f}"]
        cells += [f"{rates['pictures']:.2f}", f"{rates['arrays']:.2f}", part]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _training_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Peaks and page cache of a training alone, and of two side by side."""
    if not rows:
        return []
    head = "| float trainings at a time | peak MiB of each | s of each | MiB of the data in the page cache |"
    lines = ["", head, "|--:" * 4 + "|"]
    for row in rows:
        peaks = ", ".join(f"{each / _MIB:.0f}" for each in row["peak_bytes"])
        seconds = ", ".join(f"{each:.0f}" for each in row["seconds"])
        lines.append(f"| {row['trainings']} | {peaks} | {seconds} | {row['cached_bytes'] / _MIB:.1f} |")
    return lines


def _order(stage: str) -> tuple[int, str]:
    order = ("dataset", "check", "float", "quantize", "export", "freeze", "convert", "evaluate")
    return order.index(stage.partition("@")[0]), stage


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
