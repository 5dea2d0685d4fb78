"""The .tflite for phones: with metadata and labels, and a benchmark of LiteRT's own where that is installed.

`model.tflite` computes what the built model computes; `labels.txt` holds its classes, one a line, once more beside it.
`benchmark.json` is litert-benchmark's own result, with this machine's times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.exchange.errors import DeployError
from qatbuild.worker.deploy import Outcome, Subject, metadata, tools
from qatbuild.worker.tflite.interpret import Model

_BENCHMARK = "litert-benchmark"


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Write model.tflite, labels.txt and benchmark.json; gates: the same outputs, and the metadata read back."""
    shape = tuple(int(size) for size in subject.images.shape[1:])
    if shape[2] not in (1, 3):
        facts = [("channels", shape[2])]
        raise DeployError("TFLite metadata knows images of 1 or 3 channels only.", facts, "leave out deploy.litert")
    lowest = 0.0 if subject.scheme == "uint8" else -128.0
    written = metadata.Metadata(
        name=subject.name,
        description=options["description"],
        version=options["version"],
        author=options["author"],
        license=options["license"],
        shape=shape,
        mean=float(np.float32(subject.mean)),
        std=float(np.float32(subject.std_dev)),
        lowest=lowest,
        highest=lowest + 255,
        labels=subject.class_names,
    )
    model = out / "model.tflite"
    metadata.write(subject.tflite, written, model)
    (out / metadata.LABELS_FILE).write_text("".join(f"{name}\n" for name in subject.class_names), encoding="utf-8")
    outputs = Model(model, kernels="reference").run(subject.images)
    same, found = np.array_equal(outputs, subject.reference), metadata.read(model)
    gates = (
        {
            "name": "the same outputs",
            "wanted": "those of the model without metadata",
            "got": "the same" if same else "others",
            "passed": same,
        },
        {
            "name": "metadata",
            "wanted": "normalization and labels of the spec",
            "got": "the same" if found == written else str(found),
            "passed": found == written,
        },
    )
    figures = {"mean": subject.mean, "std": subject.std_dev, "labels": len(subject.class_names)}
    return Outcome(
        artifact=model.name,
        versions={"ai-edge-litert": tools.version("ai-edge-litert")},
        answers={model.name: subject.real(outputs)},
        gates=gates,
        figures=figures,
        notes=(f"{len(subject.class_names)} labels", f"mean {subject.mean:g}, std {subject.std_dev:g}"),
        warnings=(*_refusals(subject.scheme, shape[2]), *_benchmark(model, options, out)),
    )


def _refusals(scheme: str, channels: int) -> tuple[str, ...]:
    """What reads the metadata and still does not take the model: tried with tflite-support 0.4.4."""
    kinds = [*(["int8"] if scheme != "uint8" else []), *(["one-channel"] if channels == 1 else [])]
    if not kinds:
        return ()
    return (f"The Task Library's ImageClassifier takes no {' '.join(kinds)} images: run it with LiteRT's interpreter.",)


def _benchmark(model: Path, options: Mapping[str, Any], out: Path) -> tuple[str, ...]:
    if not options["benchmark_runs"]:
        return ()
    program = tools.beside_python(_BENCHMARK)
    if program is None:
        return (f"{_BENCHMARK} is not installed: no benchmark.json.",)
    command = [
        program,
        *("--model", model, "--result_json", out / "benchmark.json"),
        *("--num_threads", str(options["benchmark_threads"]), "--num_runs", str(options["benchmark_runs"])),
    ]
    tools.called(command, "litert-benchmark cannot run the model.", 'without it: "benchmark_runs": 0')
    result = out / "benchmark.json"
    figures = {**json.loads(result.read_text(encoding="utf-8")), "model": model.name}
    result.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return ()
