"""The convert stage: the frozen graph becomes model.tflite, and is refused if it is not what the spec asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import ConversionError
from qatbuild.exchange.request import Request
from qatbuild.worker.tflite import convert, inspect
from qatbuild.worker.tflite.gates import FULLY_INTEGER, gates


def run(request: Request) -> dict[str, Any]:
    """Write model.tflite; its facts are its input, output, operators, size and gates.

    A model that a gate refuses is not published: it is left below the work folder to look at, and the ConversionError
    names it.
    """
    settings, frozen = request.settings, request.inputs["freeze"].manifest
    mean, std_dev = settings["input"]["mean"], settings["input"]["std_dev"]
    scheme = settings["quantize"]["scheme"]
    float_layers = request.inputs["export"].manifest.facts["float_layers"]
    data = convert.convert(
        frozen.file("frozen_graph.pb"),
        input_name=frozen.facts["input"],
        output_name=frozen.facts["output"],
        mean=mean,
        std_dev=std_dev,
        scheme=scheme,
        float_layers=float_layers,
    )
    draft = request.work / "refused" / "model.tflite"
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.write_bytes(data)
    model = inspect.read(draft)
    found = gates(draft, mean=mean, std_dev=std_dev, scheme=scheme, float_layers=float_layers)
    failed = [each for each in found if not each["passed"]]
    if failed:
        raise _refusal(draft, inspect.unsupported_ops(model, scheme, float_layers), failed)
    draft.replace(request.out / "model.tflite")
    return {
        "input": _described(model.tensors[model.inputs[0]]),
        "output": _described(model.tensors[model.outputs[0]]),
        "operators": [operator.name for operator in model.operators],
        "bytes": len(data),
        "gates": found,
    }


def _refusal(
    draft: Path, violations: Sequence[inspect.UnsupportedOp], failed: Iterable[Mapping[str, Any]]
) -> ConversionError:
    """One error for all failed gates: the violations themselves say more than the gate that counts them."""
    rest = [gate for gate in failed if not (violations and gate["name"] == FULLY_INTEGER)]
    rows: list[tuple[str, object]] = [(gate["name"], f"wanted {gate['wanted']}\ngot {gate['got']}") for gate in rest]
    rows.append(("refused file", draft))
    if not violations:
        return ConversionError("The converted model is not what was asked for.", rows)
    error = inspect.refusal(violations)
    return ConversionError(error.message, [*error.facts, *rows], error.hint)


def _described(tensor: inspect.Tensor) -> dict[str, Any]:
    return {
        "dtype": tensor.dtype,
        "scale": tensor.scales[0],
        "zero_point": tensor.zero_points[0],
        "shape": list(tensor.shape),
    }
