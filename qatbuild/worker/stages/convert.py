"""The convert stage: the frozen graph becomes model.tflite, and its gates are checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from qatbuild.exchange.errors import ConversionError
from qatbuild.exchange.facts import ConvertFacts, ExportFacts, FreezeFacts, Gate, IntegerTensor
from qatbuild.exchange.request import Request
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker.tflite import convert, inspect
from qatbuild.worker.tflite.gates import FULLY_INTEGER, gates


def run(request: Request) -> ConvertFacts:
    """Write model.tflite.

    A model that does not pass a gate is not published: it stays below the work folder, and the ConversionError names
    it.
    """
    frozen = request.inputs["freeze"].manifest
    graph = FreezeFacts.of(frozen.facts)
    scaling, scheme = Scaling.of(request.settings["input"]), request.settings["quantize"]["scheme"]
    float_layers = ExportFacts.of(request.inputs["export"].manifest.facts).float_layers
    data = convert.convert(
        frozen.file("frozen_graph.pb"),
        input_name=graph.input,
        output_name=graph.output,
        mean=scaling.zero_point,
        std_dev=scaling.std_dev,
        scheme=scheme,
        float_layers=float_layers,
    )
    draft = request.work / "refused" / "model.tflite"
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.write_bytes(data)
    model = inspect.read(draft)
    checked = gates(draft, mean=scaling.zero_point, std_dev=scaling.std_dev, scheme=scheme, float_layers=float_layers)
    failed = [gate for gate in checked if not gate.passed]
    if failed:
        raise _refusal(draft, inspect.unsupported_ops(model, scheme, float_layers), failed)
    draft.replace(request.out / "model.tflite")
    return ConvertFacts(
        input=_end(model.tensors[model.inputs[0]]),
        output=_end(model.tensors[model.outputs[0]]),
        operators=tuple(operator.name for operator in model.operators),
        bytes=len(data),
        gates=tuple(checked),
    )


def _refusal(draft: Path, unsupported: Sequence[inspect.UnsupportedOp], failed: Iterable[Gate]) -> ConversionError:
    """Return one error for all failed gates; the list of operations replaces the gate that counts them."""
    rows = [gate.row for gate in failed if not (unsupported and gate.name == FULLY_INTEGER)]
    rows.append(("refused file", str(draft)))
    if not unsupported:
        return ConversionError("The converted model is not what was asked for.", rows)
    error = inspect.refusal(unsupported)
    return ConversionError(error.message, [*error.facts, *rows], error.hint)


def _end(tensor: inspect.Tensor) -> IntegerTensor:
    return IntegerTensor(tensor.dtype, tensor.scales[0], tensor.zero_points[0], tuple(tensor.shape))
