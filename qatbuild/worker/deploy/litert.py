"""The .tflite for phones, with metadata, labels, and a benchmark if litert-benchmark is installed.

`model.tflite` has the outputs of the built model; `labels.txt` holds its classes, one a line; of several outputs each
that classifies has NAME_labels.txt. `benchmark.json` is the result of litert-benchmark, with the times of this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.exchange.facts import Gate, IntegerTensor
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker.deploy import Outcome, Subject, is_image, metadata, tools

_BENCHMARK = "litert-benchmark"
_CHANNELS = (1, 3)
_PROBABILITY_STEP = 1 / 256


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Writes model.tflite, its labels and benchmark.json. Gates: unchanged outputs; the metadata reads back."""
    written = _metadata(subject, options)
    model = out / "model.tflite"
    metadata.write(subject.tflite, written, model)
    for each in written.outputs:
        if each.labels:
            (out / each.labels_file).write_text("".join(f"{name}\n" for name in each.labels), encoding="utf-8")
    outputs, reference = subject.run(model), subject.samples.reference
    same = all(np.array_equal(outputs[name], each) for name, each in reference.items())
    figures, notes = _figures(written)
    return Outcome(
        artifact=model.name,
        versions={"ai-edge-litert": tools.version("ai-edge-litert")},
        answers={model.name: subject.real(outputs)},
        gates=_gates(same, written, metadata.read(model)),
        figures=figures,
        notes=notes,
        warnings=(*_refusals(subject, written), *_benchmark(model, options, out)),
    )


def _metadata(subject: Subject, options: Mapping[str, Any]) -> metadata.Metadata:
    return metadata.Metadata(
        name=subject.name,
        description=options["description"],
        version=options["version"],
        author=options["author"],
        license=options["license"],
        inputs=tuple(_input(subject, name) for name in subject.takes),
        outputs=tuple(_output(subject, name) for name in subject.gives),
    )


def _input(subject: Subject, name: str) -> metadata.End:
    """Returns an image with its normalization, or features, whose description says how to make integers of them."""
    each, tensor = subject.inputs[name], subject.takes[name]
    if (
        isinstance(each.scaling, Scaling)
        and is_image(each)
        and each.shape[2] in _CHANNELS
        and each.scaling.order == "rgb"
    ):
        height, width, channels = each.shape
        lowest = 0.0 if subject.scheme == "uint8" else -128.0
        return metadata.End(
            name="image" if subject.lone_image else name,
            description=f"The image, {height} x {width} pixels, {'RGB' if channels > 1 else 'gray'}, a byte each.",
            lowest=lowest,
            highest=lowest + 255,
            image=(height, width, channels),
            mean=float(each.scaling.zero_point),
            std=float(np.float32(each.scaling.std_dev)),
        )
    what = "Bytes" if isinstance(each.scaling, Scaling) else "Real values"
    shape = " x ".join(map(str, each.shape)) or "one"
    if isinstance(each.scaling, Scaling):
        order = " in the order BGR" if each.scaling.order == "bgr" else ""
        text = f"{what}, {shape}{order}{'' if tensor.dtype == 'uint8' else ', each less 128'}."
    else:
        text = f"{what}, {shape}: integer = round(value / {tensor.scale:.9g}) + {tensor.zero_point}, saturated."
    return _features(name, text, tensor)


def _output(subject: Subject, name: str) -> metadata.End:
    """Returns the probabilities of classes with their labels, or real values."""
    tensor = subject.gives[name]
    file = metadata.LABELS_FILE if len(subject.gives) == 1 else f"{name}_{metadata.LABELS_FILE}"
    labels = subject.class_names.get(name, ())
    if subject.lone_classes and tensor.scale == _PROBABILITY_STEP:
        end = metadata.End("probability", "The probability of each class.", 0.0, 1.0)
    else:
        end = _features(name, f"Integers: value = (integer - {tensor.zero_point}) * {tensor.scale:.9g}.", tensor)
    return replace(end, labels=labels, labels_file=file) if labels else end


def _features(name: str, text: str, tensor: IntegerTensor) -> metadata.End:
    """Returns the metadata of a tensor that is no image; its limits are real values in float32, as in the file."""
    limits = np.iinfo(tensor.dtype)
    lowest, highest = (float(np.float32(tensor.real(float(limit)))) for limit in (limits.min, limits.max))
    return metadata.End(name, text, lowest, highest)


def _figures(written: metadata.Metadata) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns figures of the metadata, and a few in words: normalizations of images, and numbers of labels."""
    labels = {each.name: len(each.labels) for each in written.outputs if each.labels}
    images = [each for each in written.inputs if each.image is not None]
    several = max(len(written.inputs), len(written.outputs)) > 1
    notes = [f"{count} labels{f' of {name}' if several else ''}" for name, count in labels.items()]
    notes += [f"{f'{each.name}: ' if several else ''}mean {each.mean:g}, std {each.std:g}" for each in images]
    figures: dict[str, Any] = {"labels": sum(labels.values())}
    if images and not several:
        figures |= {"mean": images[0].mean, "std": images[0].std}
    return figures, tuple(notes)


def _gates(same: bool, written: metadata.Metadata, back: metadata.Metadata) -> tuple[Gate, ...]:  # noqa: FBT001
    outputs = Gate("the same outputs", "those of the model without metadata", "the same" if same else "others", same)
    got = "the same" if back == written else str(back)
    return outputs, Gate("metadata", "normalization and labels of the spec", got, passed=back == written)


def _refusals(subject: Subject, written: metadata.Metadata) -> tuple[str, ...]:
    """Warns about readers of the metadata that refuse the model, as tried with tflite-support 0.4.4."""
    if not subject.lone_image or not subject.lone_classes:
        return ()
    channels = subject.lone_image.shape[2]
    kinds = [
        *(["int8"] if subject.scheme != "uint8" else []),
        *(["one-channel"] if channels == 1 else []),
        *(["other"] if written.inputs[0].image is None else []),
    ]
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
