"""The .tflite as ONNX: integers at both ends, QuantizeLinear and DequantizeLinear around float operators (QDQ).

onnxruntime and its execution providers fuse those into integer kernels where they have them. Between two of them the
operators compute in float, so outputs differ where the integer kernels of LiteRT round: one step of a logit can be many
of a softmax.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.exchange.errors import DeployError
from qatbuild.worker.deploy import Outcome, Subject, agreement_gate, agreement_percent, tools

_BATCH = 100


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Write model.onnx; gates: onnx's checker takes it, and agreement."""
    for name in ("onnx", "onnxruntime", "tf2onnx"):
        tools.module(name, "onnx")
    onnx, tf2onnx = tools.module("onnx", "onnx"), tools.module("tf2onnx.convert", "onnx")
    path = out / "model.onnx"
    try:
        model, _ = tf2onnx.from_tflite(str(subject.tflite), opset=options["opset"], output_path=str(path))
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as fault:  # tf2onnx and the checker raise whatever they met
        facts = [("opset", options["opset"]), ("reason", fault)]
        raise DeployError("tf2onnx cannot convert the model.", facts, "another opset may be able to") from fault
    answers = _run(path, subject)
    agreed = agreement_percent(answers, subject.reference)
    differ = round(100 * float(np.mean(answers != subject.reference)), 4)
    operators = [node.op_type for node in model.graph.node]
    return Outcome(
        artifact=path.name,
        versions={name: tools.version(name) for name in ("tf2onnx", "onnx", "onnxruntime")},
        answers={path.name: subject.real(answers)},
        gates=agreement_gate(options["min_agreement"], agreed, "LiteRT's reference kernels"),
        figures={
            "opset": options["opset"],
            "operators": {name: operators.count(name) for name in sorted(set(operators))},
            "values_that_differ_percent": differ,
        },
        notes=(f"opset {options['opset']}", f"{differ:g} % of the values differ"),
    )


def _run(path: Path, subject: Subject) -> Any:
    """The integers that onnxruntime answers [n, classes]."""
    runtime = tools.module("onnxruntime", "onnx")
    given = subject.images if subject.scheme == "uint8" else (subject.images ^ 0x80).view(np.int8)
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
        batch = _BATCH if isinstance(taken.shape[0], str) or taken.shape[0] is None else int(taken.shape[0])
        parts = [
            session.run(None, {taken.name: given[start : start + batch]})[0] for start in range(0, len(given), batch)
        ]
    except Exception as fault:  # onnxruntime's own exceptions have no base of their own
        raise DeployError("onnxruntime cannot run the model.", [("reason", fault)]) from fault
    return np.concatenate(parts)
