"""The freeze stage: graph and checkpoint become one file of constants."""

from __future__ import annotations

from typing import Any

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.frozen import freeze


def run(request: Request) -> dict[str, Any]:
    """Publish frozen_graph.pb, from the checkpoint that convert.checkpoint names, and float_graph.pb.

    The float graph holds the weights that the quantized training began with: those of the float stage's last
    checkpoint. After a training from scratch it holds the quantized checkpoint's own weights.
    """
    export, quantized = request.inputs["export"].manifest, request.inputs["quantize"].manifest
    step = _step(quantized, request.settings["convert"]["checkpoint"])
    prefix = checkpoint.prefix(quantized.folder, step)
    float_prefix, float_step = prefix, step
    if "float" in request.inputs:
        given = request.inputs["float"].manifest
        float_step = int(given.facts["last"])
        float_prefix = checkpoint.prefix(given.folder, float_step)
    output = str(export.facts["output"])
    for source, weights, name in (
        ("inference_graph.pb", prefix, "frozen_graph.pb"),
        ("float_inference_graph.pb", float_prefix, "float_graph.pb"),
    ):
        (request.out / name).write_bytes(freeze(export.file(source), weights, output))
    return {
        "checkpoint_step": step,
        "float_checkpoint_step": float_step,
        "input": export.facts["input"],
        "output": output,
    }


def _step(trained: Manifest, wanted: str | int) -> int:
    """The step of the checkpoint that is wanted; StageError listing those that exist if it is not one of them."""
    steps = [int(step) for step in trained.facts["steps"]]
    if wanted == "best" and trained.facts["best"] is None:
        hint = 'Give dataset.validation a share of the training images, or write "checkpoint": "last".'
        raise StageError("No checkpoint is the best one, for the training had no validation images.", [], hint)
    step = int(trained.facts[wanted]) if isinstance(wanted, str) else wanted
    if step not in steps:
        facts: list[tuple[str, object]] = [("convert.checkpoint", wanted), ("there are", ", ".join(map(str, steps)))]
        raise StageError("The quantized training kept no checkpoint of this step.", facts)
    return step
