"""The quantize stage: train with fake quantization, so that the network learns to live with 8 bits."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from qatbuild import quantize
from qatbuild.artifact import write_text
from qatbuild.errors import StageError
from qatbuild.request import Request
from qatbuild.stages import learning
from qatbuild.training import checkpoint
from qatbuild.training.rewrite import Rewrite


def run(request: Request) -> dict[str, Any]:
    """Train with fake quantization; publishes model.ckpt-<step> with the ranges, events, and rewrite.json.

    It starts from the float stage's last checkpoint, with a fresh optimizer and a learning rate of its own; with
    "start": "scratch" from random weights, for train.steps, quantized from step quant_delay on.
    """
    network = learning.network(request)
    train, settings = request.settings["train"], request.settings["quantize"]
    if settings["start"] == "scratch":
        course, start_from = learning.course(train, int(train["steps"]), int(train["log_every"])), None
    else:
        given = request.inputs["float"].manifest
        start_from = checkpoint.prefix(given.folder, int(given.facts["last"]))
        course = learning.course(settings, int(settings["steps"]), int(train["log_every"]))
    reports: list[quantize.RewriteReport] = []
    rewrite = fake_quantization(int(settings["quant_delay"]), reports)
    progress, graph = learning.learn(request, network, course, rewrite=rewrite, start_from=start_from)
    last = checkpoint.prefix(request.out, progress.kept[-1])
    ends: dict[str, list[int]] = {f"{tensor}/{end}": [] for tensor in graph.ranges for end in ("min", "max")}
    values = checkpoint.values(last, ends)
    ranges = {tensor: [float(values[f"{tensor}/{end}"]) for end in ("min", "max")] for tensor in graph.ranges}
    _check_ranges(ranges)
    write_text(request.out / "rewrite.json", reports[-1].to_json())
    return {**learning.facts(progress), "fake_quants": len(ranges), "ranges": ranges}


def fake_quantization(quant_delay: int, reports: list[quantize.RewriteReport]) -> Rewrite:
    """The rewrite of the quantizer, for the training room; what it did to the training graph is added to `reports`."""

    def training(graph: tf.Graph) -> dict[str, tuple[str, str]]:
        report = quantize.create_training_graph(graph, quant_delay)
        reports.append(report)
        ends = [(row.min_variable, row.max_variable) for row in report.quantized]
        return {low.removesuffix("/min"): (low, high) for low, high in ends}

    return Rewrite(training, quantize.create_eval_graph)


def _check_ranges(ranges: dict[str, list[float]]) -> None:
    """StageError naming each tensor without a range; `not <` also finds what is not a number."""
    empty: list[tuple[str, object]] = [
        (tensor, f"{low:g} .. {high:g}") for tensor, (low, high) in ranges.items() if not low < high
    ]
    if empty:
        hint = "Such a layer only gives zeros: lower the learning rate, or look at its weights in the float checkpoint."
        raise StageError("Fake-quantized tensors have no range after the training.", empty, hint)
