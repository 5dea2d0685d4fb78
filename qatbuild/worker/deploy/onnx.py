"""The .tflite as ONNX: integer inputs and outputs, QuantizeLinear and DequantizeLinear around float operators (QDQ).

onnxruntime and its execution providers fuse some of these into integer kernels. Other operators compute in float, so
outputs differ where LiteRT's integer kernels round: one step of a logit can be many steps of a softmax.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.exchange.errors import DeployError
from qatbuild.worker.deploy import Outcome, Subject, agreement, differing_percent, tools
from qatbuild.worker.tflite import inspect

_BATCH = 100


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Writes model.onnx. Gates: onnx's checker accepts it; agreement."""
    for name in ("onnx", "onnxruntime", "tf2onnx"):
        tools.module(name, "onnx")
    onnx, tf2onnx = tools.module("onnx", "onnx"), tools.module("tf2onnx.convert", "onnx")
    path = out / "model.onnx"
    try:
        model, _ = tf2onnx.from_tflite(str(subject.tflite), opset=options["opset"], output_path=str(path))
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as fault:  # tf2onnx and the checker raise errors of many types
        facts = [("opset", options["opset"]), ("reason", fault)]
        raise DeployError("tf2onnx cannot convert the model.", facts) from fault
    answers = _run(path, subject)
    reals = subject.real(answers)
    outputs = agreement.compared(subject, reals, subject.reference)
    differ = differing_percent(answers, subject.samples.reference)
    operators = [node.op_type for node in model.graph.node]
    return Outcome(
        artifact=path.name,
        versions={name: tools.version(name) for name in ("tf2onnx", "onnx", "onnxruntime")},
        answers={path.name: reals},
        gates=agreement.gates(options["min_agreement"], outputs, f"LiteRT's {subject.samples.kernels_in_words}"),
        figures={
            "opset": options["opset"],
            "operators": {name: operators.count(name) for name in sorted(set(operators))},
            "values_that_differ_percent": differ,
        },
        notes=(f"opset {options['opset']}", f"{differ:g} % of the values differ"),
    )


def _run(path: Path, subject: Subject) -> dict[str, Any]:
    """Returns the integer outputs of onnxruntime [n, ...], by the network's tensors."""
    runtime = tools.module("onnxruntime", "onnx")
    takes, gives = _names(subject)
    integers = {takes[name]: values for name, values in subject.samples.integers.items()}
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        first = session.get_inputs()[0].shape[0]
        batch = _BATCH if isinstance(first, str) or first is None else int(first)
        parts = [
            session.run(list(gives.values()), {name: each[start : start + batch] for name, each in integers.items()})
            for start in range(0, subject.samples.number, batch)
        ]
    except Exception as fault:  # onnxruntime's exceptions have no common base class
        raise DeployError("onnxruntime cannot run the model.", [("reason", fault)]) from fault
    return {name: np.concatenate(rows) for name, rows in zip(gives, zip(*parts, strict=True), strict=True)}


def _names(subject: Subject) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the names of the .tflite's tensors, which tf2onnx keeps: (by input, by the network's tensors)."""
    model = inspect.read(subject.tflite)
    takes, gives = ([model.tensors[index].name for index in side] for side in (model.inputs, model.outputs))
    return dict(zip(subject.takes, takes, strict=True)), dict(zip(subject.gives, gives, strict=True))
