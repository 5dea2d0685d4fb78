"""The quantize stage: train with fake quantization, so that the network learns to live with 8 bits."""

from __future__ import annotations

from typing import Any

from qatbuild.artifact import write_text
from qatbuild.errors import StageError
from qatbuild.request import Request
from qatbuild.stages import learning
from qatbuild.training import checkpoint
from qatbuild.training.graph import Rewrite
from qatbuild.training.inference import check


def run(request: Request) -> dict[str, Any]:
    """Train with fake quantization; publishes model.ckpt-<step> with the ranges, events, and rewrite.json.

    It starts from the float stage's last checkpoint, with a fresh optimizer and a learning rate of its own; with
    "start": "scratch" from random weights, for train.steps, quantized from step quant_delay on.
    """
    network = learning.network(request)
    check(network)
    train, quantize = request.settings["train"], request.settings["quantize"]
    if quantize["start"] == "scratch":
        course, start_from = learning.course(train, int(train["steps"]), int(train["log_every"])), None
    else:
        given = request.inputs["float"].manifest
        start_from = checkpoint.prefix(given.folder, int(given.facts["last"]))
        course = learning.course(quantize, int(quantize["steps"]), int(train["log_every"]))
    rewrite = Rewrite(int(quantize["quant_delay"]))
    progress, graph = learning.learn(request, network, course, rewrite=rewrite, start_from=start_from)
    last = checkpoint.prefix(request.out, progress.kept[-1])
    ends: dict[str, list[int]] = {f"{tensor}/{end}": [] for tensor in graph.ranges for end in ("min", "max")}
    values = checkpoint.values(last, ends)
    ranges = {tensor: [float(values[f"{tensor}/{end}"]) for end in ("min", "max")] for tensor in graph.ranges}
    _check_ranges(ranges)
    if graph.rewrite is not None:
        write_text(request.out / "rewrite.json", graph.rewrite.to_json())
    return {**learning.facts(progress), "fake_quants": len(ranges), "ranges": ranges}


def _check_ranges(ranges: dict[str, list[float]]) -> None:
    """StageError naming each tensor without a range; `not <` also finds what is not a number."""
    empty: list[tuple[str, object]] = [
        (tensor, f"{low:g} .. {high:g}") for tensor, (low, high) in ranges.items() if not low < high
    ]
    if empty:
        hint = "Such a layer only gives zeros: lower the learning rate, or look at its weights in the float checkpoint."
        raise StageError("Fake-quantized tensors have no range after the training.", empty, hint)
