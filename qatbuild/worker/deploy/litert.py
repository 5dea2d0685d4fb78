"""The .tflite for phones, with metadata, labels, and a benchmark if litert-benchmark is installed.

`model.tflite` has the outputs of the built model; `labels.txt` holds its classes, one a line. `benchmark.json` is the
result of litert-benchmark, with the times of this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.exchange.errors import DeployError
from qatbuild.exchange.facts import Gate
from qatbuild.worker.deploy import Outcome, Subject, metadata, tools
from qatbuild.worker.tflite.interpret import Model

_BENCHMARK = "litert-benchmark"


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Write model.tflite, labels.txt and benchmark.json. Gates: unchanged outputs; the metadata reads back."""
    written = _metadata(subject, options)
    model = out / "model.tflite"
    metadata.write(subject.tflite, written, model)
    (out / metadata.LABELS_FILE).write_text("".join(f"{name}\n" for name in subject.class_names), encoding="utf-8")
    outputs = Model(model, kernels=subject.samples.kernels).run(subject.samples.images)
    labels = len(subject.class_names)
    return Outcome(
        artifact=model.name,
        versions={"ai-edge-litert": tools.version("ai-edge-litert")},
        answers={model.name: subject.real(outputs)},
        gates=_gates(np.array_equal(outputs, subject.samples.reference), written, metadata.read(model)),
        figures={"mean": written.mean, "std": written.std, "labels": labels},
        notes=(f"{labels} labels", f"mean {written.mean:g}, std {written.std:g}"),
        warnings=(*_refusals(subject.scheme, written.shape[2]), *_benchmark(model, options, out)),
    )


def _metadata(subject: Subject, options: Mapping[str, Any]) -> metadata.Metadata:
    """Return the metadata of the model; DeployError if its images have neither 1 nor 3 channels."""
    shape = tuple(int(size) for size in subject.samples.images.shape[1:])
    if shape[2] not in (1, 3):
        facts = [("channels", shape[2])]
        raise DeployError("TFLite metadata supports images of 1 or 3 channels only.", facts, "leave out deploy.litert")
    lowest = 0.0 if subject.scheme == "uint8" else -128.0
    return metadata.Metadata(
        name=subject.name,
        description=options["description"],
        version=options["version"],
        author=options["author"],
        license=options["license"],
        shape=shape,
        mean=float(subject.samples.scaling.zero_point),
        std=float(np.float32(subject.samples.scaling.std_dev)),
        lowest=lowest,
        highest=lowest + 255,
        labels=subject.class_names,
    )


def _gates(same: bool, written: metadata.Metadata, back: metadata.Metadata) -> tuple[Gate, ...]:  # noqa: FBT001
    outputs = Gate("the same outputs", "those of the model without metadata", "the same" if same else "others", same)
    got = "the same" if back == written else str(back)
    return outputs, Gate("metadata", "normalization and labels of the spec", got, passed=back == written)


def _refusals(scheme: str, channels: int) -> tuple[str, ...]:
    """Warn about readers of the metadata that refuse the model, as tried with tflite-support 0.4.4."""
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
    tools.called(command, "litert-benchmark cannot run the model.", '"benchmark_runs": 0 leaves the benchmark out')
    result = out / "benchmark.json"
    figures = {**json.loads(result.read_text(encoding="utf-8")), "model": model.name}
    result.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return ()
