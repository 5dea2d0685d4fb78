"""The accuracy of the shipped specs on CIFAR-10: their reports as one table, in qatbuild/docs/benchmarks.md.

    doit -n 2 cifarnet resnet8 mobilenet benchmarks/cifarnet-seeds benchmarks/mobilenet-seeds
    python -m tests.benchmarks.accuracy

builds them, and writes tests/benchmarks/results/accuracy.md, accuracy.json, the table in benchmarks.md and its summary
in README.md (with `--out`, another file of results/ that benchmarks.md has a place for). It measures nothing itself:
every figure comes from the report.json of a model that is up to date, and other reports are refused, so the table shows
what this commit and these specs give. With `--project FOLDER` the models are those of another project, such as one
whose specs extend these and name data that lies elsewhere.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qatbuild.engine.forecast import CURRENT
from qatbuild.engine.project import Project
from qatbuild.schema.load import load
from qatbuild.schema.model import Dataset, Variant
from qatbuild.schema.rules import AllowedPaths
from tests.benchmarks.measure import FailedRunError, host
from tests.benchmarks.table import RESULTS, into_page, publish

SPECS = ("cifarnet", "benchmarks/cifarnet-seeds", "resnet8", "mobilenet", "benchmarks/mobilenet-seeds")
IN_SUMMARY = (
    "cifarnet@uint8", "cifarnet@int8", "resnet8@int8_per_channel", "mobilenet@uint8", "mobilenet@ptq",
)  # fmt: skip
"""The models of the small table in README.md."""

_HEAD = (
    "model", "seed", "float %", "fake-quant %", ".tflite %", "agreement %", "bytes", "x smaller", "ms", "float ms",
)  # fmt: skip
_TOP1 = ("float", "fake_quant", "tflite")
_KERNELS = "xnnpack"


def main(arguments: list[str]) -> int:
    """Reads the reports, prints the table, writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path.cwd())
    parser.add_argument("--models", nargs="+", default=list(SPECS), help="names of specs in the project, or labels")
    parser.add_argument("--out", type=Path, default=RESULTS / "accuracy")
    options = parser.parse_args(arguments)
    root = options.project.absolute()
    _must_be_current(root, options.models)
    result = gathered(root, options.models)
    publish(options.out, result, markdown(result))
    if options.out.absolute() == RESULTS / "accuracy":
        (RESULTS / "summary.md").write_text(summary(result), encoding="utf-8")
        into_page("summary")
    return 0


def _must_be_current(root: Path, models: Iterable[str]) -> None:
    """Refuses reports of another code, spec or dataset."""
    command = [sys.executable, "-m", "doit", "plan", "--json", *models]
    planned = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if planned.returncode:
        raise FailedRunError(planned.stderr or planned.stdout)
    counts = json.loads(planned.stdout)["counts"]
    if set(counts) != {CURRENT}:
        raise FailedRunError(f"These models are not up to date ({counts}). First: doit {' '.join(models)}")


def gathered(root: Path, models: Iterable[str]) -> dict[str, Any]:
    """One row a model, how models that differ in nothing but their seed spread, the data, and the machine."""
    project = Project.at(root)
    territory = AllowedPaths(project.root, project.allowed)
    wanted = list(models)
    specs = dict.fromkeys(name.partition("@")[0] for name in wanted)
    loaded = [variant for name in specs for variant in load(name, project.file(name), territory)]
    variants = {each.label: each for each in loaded if {each.label, each.label.partition("@")[0]} & {*wanted}}
    rows = [_row(project.build, variant) for variant in variants.values()]
    datasets: list[Dataset] = []
    for each in variants.values():
        if each.dataset not in datasets:
            datasets.append(each.dataset)
    request = _json(project.build / next(iter(variants)) / "evaluate.request.json")
    return {
        "host": {**host(), "threads": request["threads"]},
        "toolchain": request["toolchain"],
        "data": [_data(dataset) for dataset in datasets],
        "rows": rows,
        "seeds": list(_seeds(variants, {row["label"]: row for row in rows})),
    }


def _row(build: Path, variant: Variant) -> dict[str, Any]:
    report = _json(build / variant.label / "report.json")
    kept = ("label", "examples", "top1", "agreement", "bytes", "latencies_ms", "gates")
    train = {"seed": variant.train.seed, "steps": variant.train.steps, "precision": variant.train.precision}
    return {**{key: report[key] for key in kept}, "train": train, "quantize_steps": variant.quantize.steps}


def _seeds(variants: Mapping[str, Variant], rows: Mapping[str, dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Mean, sample standard deviation, least and greatest top-1 of the models that are alike but for their seed."""
    alike: dict[str, dict[int, str]] = {}
    for label, variant in variants.items():
        same = variant._replace(label="", file=Path(), description="", train=variant.train._replace(seed=0))
        alike.setdefault(repr(same), {})[variant.train.seed] = label
    for labels in alike.values():
        if len(labels) > 1:
            top1 = {kind: [rows[label]["top1"][kind] for label in labels.values()] for kind in _TOP1}
            yield {
                "labels": list(labels.values()),
                "seeds": list(labels),
                "top1": {
                    kind: {
                        "mean": round(statistics.mean(each), 4),
                        "deviation": round(statistics.stdev(each), 4),
                        "least": min(each),
                        "greatest": max(each),
                    }
                    for kind, each in top1.items()
                },
            }


def _data(dataset: Dataset) -> dict[str, Any]:
    """Which file, and how many of its test images are known not to be the original ones (a list may lie beside it)."""
    if dataset.path is None:
        return {"file": f"{dataset.name}, downloaded", "jpeg_decoded_test_images": 0}
    lossy = Path(dataset.path).parent / "lossy_indices.json"
    listed = _json(lossy)["test"] if lossy.is_file() else ()
    return {"file": Path(dataset.path).name, "jpeg_decoded_test_images": len(listed)}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def markdown(result: dict[str, Any]) -> str:
    """The table: a line a model, one for the seeds, and below it what the figures depend on."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|---|" + "--:|" * (len(_HEAD) - 1)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in result["rows"]]
    for each in result["seeds"]:
        figures = [f"{each['top1'][kind]['mean']:.2f} ± {each['top1'][kind]['deviation']:.2f}" for kind in _TOP1]
        name = each["labels"][0].replace(f"seed-{each['seeds'][0]}", "seed-*") + ": mean ± standard deviation"
        lines.append(f"| {name} | {', '.join(map(str, each['seeds']))} | " + " | ".join(figures) + " |" + " |" * 5)
    return "\n".join([*lines, "", _about(result)]) + "\n"


def summary(result: dict[str, Any]) -> str:
    """The small table: a line for each model of IN_SUMMARY."""
    columns = [_HEAD.index(name) for name in ("model", "float %", ".tflite %", "bytes", "x smaller", "ms", "float ms")]
    rows = {row["label"]: list(_cells(row)) for row in result["rows"]}
    lines = ["| " + " | ".join(_HEAD[column] for column in columns) + " |", "|---|" + "--:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(rows[label][column] for column in columns) + " |" for label in IN_SUMMARY]
    return "\n".join([*lines, "", _about(result)]) + "\n"


def _cells(row: Mapping[str, Any]) -> Iterable[str]:
    yield row["label"]
    yield str(row["train"]["seed"])
    yield from (f"{row['top1'][kind]:.2f}" for kind in _TOP1)
    yield f"{row['agreement']['top1_percent']:.2f}"
    yield f"{row['bytes']['tflite']:,}"
    yield f"{row['bytes']['ratio']:.3f}"
    clocked = {
        each["numbers"] == "float32": each["median"] for each in row["latencies_ms"] if each["kernels"] == _KERNELS
    }
    yield from (f"{clocked[of_float]:.3f}" if of_float in clocked else "" for of_float in (False, True))


def _about(result: dict[str, Any]) -> str:
    where = result["host"]
    examples = sorted({row["examples"] for row in result["rows"]})
    lossy = sum(each["jpeg_decoded_test_images"] for each in result["data"])
    images = f"Top-1 on {' or '.join(f'{count:,}' for count in examples)} test images"
    images += f", {lossy} of which are JPEG-decoded" if lossy else ""
    packages = ", ".join(f"{name} {version}" for name, version in result["toolchain"].items())
    machine = f"{where['date']}, commit {where['commit']}, {where['cpu']}, {where['threads']} threads, {packages}"
    return f"{images}; latency: one image, one thread, XNNPACK. {machine}."


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except FailedRunError as failure:
        sys.exit(str(failure))
