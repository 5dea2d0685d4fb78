"""The freeze stage: a graph and a checkpoint become one file of constants."""

from __future__ import annotations

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.facts import Checkpoints, ExportFacts, FloatFacts, FreezeFacts, QuantizeFacts
from qatbuild.exchange.request import Request
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.frozen import freeze


def run(request: Request) -> FreezeFacts:
    """Publishes frozen_graph.pb, with the checkpoint that convert.checkpoint names, and float_graph.pb.

    The float graph has the weights of the float stage's last checkpoint, from which the quantized training began;
    after a training from scratch it has those of the quantized checkpoint.
    """
    export, quantized = request.inputs["export"].manifest, request.inputs["quantize"].manifest
    made = QuantizeFacts.of(quantized.facts)
    step = _step(made.checkpoints, request.settings["convert"]["checkpoint"])
    prefix = checkpoint.prefix(quantized.folder, step)
    float_prefix, float_step = prefix, step
    if "float" in request.inputs:
        trained = request.inputs["float"].manifest
        float_step = FloatFacts.of(trained.facts).checkpoints.last
        float_prefix = checkpoint.prefix(trained.folder, float_step)
    graphs = ExportFacts.of(export.facts)
    for source, weights, name in (
        ("inference_graph.pb", prefix, "frozen_graph.pb"),
        ("float_inference_graph.pb", float_prefix, "float_graph.pb"),
    ):
        (request.out / name).write_bytes(freeze(export.file(source), weights, graphs.outputs.values()))
    return FreezeFacts(step, float_step, graphs.inputs, graphs.outputs, made.warnings)


def _step(kept: Checkpoints, wanted: str | int) -> int:
    """The step of the checkpoint "best", "last" or of a step; StageError listing all steps if it does not exist."""
    step = {"best": kept.best, "last": kept.last}[wanted] if isinstance(wanted, str) else wanted
    if step is None:
        hint = 'Give dataset.validation a share of the training examples, or write "checkpoint": "last".'
        raise StageError("No checkpoint is the best one: the training had no validation examples.", hint=hint)
    if step not in kept.steps:
        facts = [("convert.checkpoint", wanted), ("there are", ", ".join(map(str, kept.steps)))]
        raise StageError("The quantized training kept no checkpoint of this step.", facts)
    return step
