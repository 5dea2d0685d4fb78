"""The convert stage: the frozen graph becomes model.tflite, and its gates are checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from qatbuild.exchange.errors import ConversionError
from qatbuild.exchange.facts import ConvertFacts, ExportFacts, FreezeFacts, Gate, IntegerTensor
from qatbuild.exchange.request import Request
from qatbuild.exchange.scaling import read_inputs
from qatbuild.worker.tflite import convert, inspect
from qatbuild.worker.tflite.ends import Ends
from qatbuild.worker.tflite.ends import wanted as wanted_ends
from qatbuild.worker.tflite.gates import FULLY_INTEGER, gates


def run(request: Request) -> ConvertFacts:
    """Writes model.tflite.

    A model that does not pass a gate is not published: it stays below the work folder, and the ConversionError names
    it.
    """
    frozen = request.inputs["freeze"].manifest
    scheme = request.settings["quantize"]["scheme"]
    exported = ExportFacts.of(request.inputs["export"].manifest.facts)
    graph, float_layers = frozen.file("frozen_graph.pb"), exported.float_layers
    wanted = _wanted(request, FreezeFacts.of(frozen.facts), graph)
    data = convert.convert(graph, wanted, scheme=scheme, float_layers=float_layers)
    draft = request.work / "refused" / "model.tflite"
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.write_bytes(data)
    model = inspect.read(draft)
    checked = gates(draft, wanted, scheme=scheme, float_layers=float_layers)
    failed = [gate for gate in checked if not gate.passed]
    if failed:
        raise _refusal(draft, inspect.unsupported_ops(model, scheme, float_layers), failed)
    draft.replace(request.out / "model.tflite")
    inputs, outputs = ([model.tensors[index] for index in side] for side in (model.inputs, model.outputs))
    return ConvertFacts(
        inputs=dict(zip(wanted.inputs, map(_end, inputs), strict=True)),
        outputs=dict(zip(wanted.outputs, map(_end, outputs), strict=True)),
        operators=tuple(operator.name for operator in model.operators),
        bytes=len(data),
        gates=tuple(checked),
    )


def _wanted(request: Request, graphs: FreezeFacts, frozen_graph: Path) -> Ends:
    """The integers of inputs and outputs that the spec and its tasks ask for."""
    scalings = read_inputs(request.settings["inputs"])
    inputs = {name: (operation, scalings[name]) for name, operation in graphs.inputs.items()}
    return wanted_ends(frozen_graph, inputs, graphs.outputs, request.settings["quantize"]["scheme"])


def _refusal(draft: Path, unsupported: Sequence[inspect.UnsupportedOp], failed: Iterable[Gate]) -> ConversionError:
    """Returns one error for all failed gates; the list of operations replaces the gate that counts them."""
    rows = [gate.row for gate in failed if not (unsupported and gate.name == FULLY_INTEGER)]
    rows.append(("refused file", str(draft)))
    if not unsupported:
        return ConversionError("The converted model is not what was asked for.", rows)
    error = inspect.refusal(unsupported)
    return ConversionError(error.message, [*error.facts, *rows], error.hint)


def _end(tensor: inspect.Tensor) -> IntegerTensor:
    scales, zero_points = tensor.scales or (1.0,), tensor.zero_points or (0,)  # Classes are whole numbers without any.
    return IntegerTensor(tensor.dtype, scales[0], zero_points[0], tuple(tensor.shape))
