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
from qatbuild.worker.deploy import Outcome, Subject, agreement_gate, agreement_percent, differing_percent, tools

_BATCH = 100


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Write model.onnx. Gates: onnx's checker accepts it; agreement."""
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
    agreed = agreement_percent(answers, subject.samples.reference)
    differ = differing_percent(answers, subject.samples.reference)
    operators = [node.op_type for node in model.graph.node]
    return Outcome(
        artifact=path.name,
        versions={name: tools.version(name) for name in ("tf2onnx", "onnx", "onnxruntime")},
        answers={path.name: subject.real(answers)},
        gates=agreement_gate(options["min_agreement"], agreed, f"LiteRT's {subject.samples.kernels_in_words}"),
        figures={
            "opset": options["opset"],
            "operators": {name: operators.count(name) for name in sorted(set(operators))},
            "values_that_differ_percent": differ,
        },
        notes=(f"opset {options['opset']}", f"{differ:g} % of the values differ"),
    )


def _run(path: Path, subject: Subject) -> Any:
    """Return the integer outputs of onnxruntime [n, classes]."""
    runtime = tools.module("onnxruntime", "onnx")
    images = subject.integer_images
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
        batch = _BATCH if isinstance(taken.shape[0], str) or taken.shape[0] is None else int(taken.shape[0])
        parts = [
            session.run(None, {taken.name: images[start : start + batch]})[0] for start in range(0, len(images), batch)
        ]
    except Exception as fault:  # onnxruntime's exceptions have no common base class
        raise DeployError("onnxruntime cannot run the model.", [("reason", fault)]) from fault
    return np.concatenate(parts)
