"""The .tflite in Arm NN: parsed and run by its reference backend CpuRef, from Debian's packages.

Arm NN is on no package index: Debian's pyarmnn belongs to Debian's own Python, so it runs in a process of that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.exchange.errors import DeployError
from qatbuild.worker.deploy import Outcome, Subject, agreement_gate, agreement_percent, armnn_program, tools
from qatbuild.worker.tflite import inspect

_PYTHON = Path("/usr/bin/python3")
_PACKAGES = "python3-pyarmnn libarmnn-cpuref-backend22"
_PROBE = """\
import pyarmnn as ann
runtime = ann.IRuntime(ann.CreationOptions())
if "CpuRef" not in map(str, runtime.GetDeviceSpec().GetSupportedBackends()):
    raise ImportError("Arm NN is there without its backend CpuRef")
"""
_PADS = ("PAD", "PADV2", "MIRROR_PAD")
_FAULTY_PADS = "22."
"""Version, as Arm NN says it, of release 20.08."""


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Write the model and a program that runs it; gates: none of Arm NN's known faults is in the way, and agreement."""
    hint = f"apt-get update && apt-get install -y --no-install-recommends {_PACKAGES}"
    tools.called([_PYTHON, "-c", _PROBE], "The route armnn needs Debian's Arm NN, which is not there.", hint)
    model = out / "model.tflite"
    model.write_bytes(subject.tflite.read_bytes())
    (out / "run_armnn.py").write_text(Path(armnn_program.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    images, outputs = subject.work / "images.npy", subject.work / "outputs.npy"
    np.save(images, subject.images if subject.scheme == "uint8" else (subject.images ^ 0x80).view(np.int8))
    outputs.unlink(missing_ok=True)
    content = inspect.read(subject.tflite)
    bare = biasless(content)
    cure = f"give {', '.join(bare)} a bias: Arm NN 20.08 cannot parse a dense layer without one" if bare else ""
    printed = tools.called(
        [_PYTHON, out / "run_armnn.py", model, images, outputs], "Arm NN cannot run the model.", cure
    )
    found = re.search(r"^Arm NN (\S+)$", printed, re.MULTILINE)
    if found is None or not outputs.is_file():
        raise DeployError("Arm NN's program ended without outputs.", [("its end", printed[-500:])], hint)
    answers = np.load(outputs)
    pads = shifted_pads(content) if found[1].startswith(_FAULTY_PADS) else ()
    faults = {
        "name": "no known fault",
        "wanted": "no standalone PAD of a tensor whose zero point is not 0: Arm NN 20.08 pads it with raw zeros",
        "got": ", ".join(pads) or "none",
        "passed": not pads,
    }
    differ = round(100 * float(np.mean(answers != subject.reference)), 4)
    agreed = agreement_percent(answers, subject.reference)
    return Outcome(
        artifact=model.name,
        versions={"Arm NN": found[1], "backend": "CpuRef"},
        answers={model.name: subject.real(answers)},
        gates=(faults, *agreement_gate(options["min_agreement"], agreed, "LiteRT's reference kernels")),
        figures={"values_that_differ_percent": differ},
        notes=(f"{differ:g} % of the values differ",),
    )


def biasless(model: inspect.Flatbuffer) -> tuple[str, ...]:
    """Dense layers without a bias: the file has -1 in its place, which Arm NN 20.08 refuses."""
    return tuple(
        model.layer(operator)
        for operator in model.operators
        if operator.name == "FULLY_CONNECTED" and len(operator.inputs) == 2  # noqa: PLR2004
    )


def shifted_pads(model: inspect.Flatbuffer) -> tuple[str, ...]:
    """Layers with a PAD of their own whose zero point is not 0: Arm NN 20.08 pads those with another number than 0.

    Not where only CONV_2D takes the result: Arm NN folds such a PAD into the convolution, which pads rightly.
    """
    found = []
    for operator in model.operators:
        zero_points = model.tensors[operator.inputs[0]].zero_points
        if operator.name in _PADS and any(zero_points):
            takers = {taker.name for taker in model.operators if operator.outputs[0] in taker.inputs}
            if takers != {"CONV_2D"}:
                found.append(f"{model.layer(operator)} ({operator.name}, zero point {zero_points[0]})")
    return tuple(found)
