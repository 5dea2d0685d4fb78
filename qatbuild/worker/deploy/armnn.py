"""The .tflite in Arm NN, parsed and run by its reference backend CpuRef (Debian's packages).

Arm NN is not on PyPI. Debian's pyarmnn needs Debian's own Python, so it runs in a process of that Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.exchange.errors import DeployError
from qatbuild.exchange.facts import Gate
from qatbuild.worker.deploy import (
    Outcome,
    Subject,
    agreement,
    armnn_faults,
    armnn_program,
    differing_percent,
    tools,
)
from qatbuild.worker.tflite import inspect

_PYTHON = Path("/usr/bin/python3")
_PACKAGES = "python3-pyarmnn libarmnn-cpuref-backend22"
_PROBE = """\
import pyarmnn as ann
runtime = ann.IRuntime(ann.CreationOptions())
if "CpuRef" not in map(str, runtime.GetDeviceSpec().GetSupportedBackends()):
    raise ImportError("Arm NN is installed without its backend CpuRef")
"""
_FAULTY = "22."
"""Arm NN's own version number of release 20.08."""
_NO_FAULT = (
    "no standalone PAD of a tensor whose zero point is not 0, which Arm NN 20.08 pads with raw zeros; no resize with"
    " half-pixel centres, which it computes without them"
)


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Writes the model and a program that runs it. Gates: no known fault of Arm NN affects the model; agreement."""
    hint = f"apt-get update && apt-get install -y --no-install-recommends {_PACKAGES}"
    tools.called([_PYTHON, "-c", _PROBE], "The route armnn needs Debian's Arm NN, which is not installed.", hint)
    model = out / "model.tflite"
    model.write_bytes(subject.tflite.read_bytes())
    (out / "run_armnn.py").write_text(Path(armnn_program.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    content = inspect.read(subject.tflite)
    inputs, outputs = subject.work / "inputs.npz", subject.work / "outputs.npz"
    names = [content.tensors[index].name for index in content.inputs]
    arrays: Any = dict(zip(names, (subject.samples.integers[name] for name in subject.takes), strict=True))
    np.savez(inputs, **arrays)
    outputs.unlink(missing_ok=True)
    command = [_PYTHON, out / "run_armnn.py", model, inputs, outputs]
    printed = tools.called(command, "Arm NN cannot run the model.", armnn_faults.parser_hint(content))
    version = re.search(r"^Arm NN (\S+)$", printed, re.MULTILINE)
    if version is None or not outputs.is_file():
        raise DeployError("Arm NN's program ended without outputs.", [("its end", printed[-500:])], hint)
    answers = _answers(outputs, content, subject)
    faulty = armnn_faults.shifted_pads(content) + armnn_faults.shifted_resizes(model)
    named = faulty if version[1].startswith(_FAULTY) else ()
    faults = Gate("no known fault", _NO_FAULT, ", ".join(named) or "none", passed=not named)
    differ = differing_percent(answers, subject.samples.reference)
    reals = subject.real(answers)
    compared = agreement.compared(subject, reals, subject.reference)
    other = f"LiteRT's {subject.samples.kernels_in_words}"
    return Outcome(
        artifact=model.name,
        versions={"Arm NN": version[1], "backend": "CpuRef"},
        answers={model.name: reals},
        gates=(faults, *agreement.gates(options["min_agreement"], compared, other)),
        figures={"values_that_differ_percent": differ},
        notes=(f"{differ:g} % of the values differ",),
    )


def _answers(outputs: Path, content: inspect.Flatbuffer, subject: Subject) -> dict[str, Any]:
    """Returns the integers [n, ...] that the program wrote, by the network's tensors."""
    names = [content.tensors[index].name for index in content.outputs]
    with np.load(outputs) as arrays:
        written = dict(zip(subject.gives, (arrays[name] for name in names), strict=True))
    return {name: rows.reshape(subject.samples.reference[name].shape) for name, rows in written.items()}
