"""The quantize stage: the network gets its ranges, learnt in a quantization-aware training or measured."""

from __future__ import annotations

import importlib

from qatbuild.exchange.facts import QuantizeFacts
from qatbuild.exchange.request import Request
from qatbuild.quantize.rewrite_report import RewriteReport
from qatbuild.worker.stages import learning, rewriting, warnings
from qatbuild.worker.training import checkpoint

_CALIBRATE = "qatbuild.worker.stages.calibrate"


def run(request: Request) -> QuantizeFacts:
    """Publishes model.ckpt-<step> with weights and ranges, and rewrite.json; a training leaves events, too.

    Method "qat": train with fake quantization, from the float stage's last checkpoint, with a fresh optimizer and a
    learning rate of its own; with "start": "scratch" from random weights, for train.steps, quantized from step
    quant_delay on. Method "ptq": see stages/calibrate.py.
    """
    if request.settings["quantize"]["method"] == "ptq":
        # Imported by name, as the plan names it for this method only: a change of it makes no training stale.
        facts: QuantizeFacts = importlib.import_module(_CALIBRATE).run(request)
        return facts
    return _train(request)


def _train(request: Request) -> QuantizeFacts:
    target = learning.application(request)
    train, settings = request.settings["train"], request.settings["quantize"]
    if settings["start"] == "scratch":
        course, start_from = learning.course(train, int(train["steps"]), int(train["log_every"])), None
    else:
        start_from = learning.last_float_checkpoint(request)
        course = learning.course(settings, int(settings["steps"]), int(train["log_every"]))
    reports: list[RewriteReport] = []
    rewrite = rewriting.fake_quantization(rewriting.quantizer(request), reports)
    early = warnings.of_start(settings, course.steps)
    warnings.tell(request, early)
    progress, graph = learning.learn(request, target, course, rewrite=rewrite, start_from=start_from)
    late = warnings.of_statistics(request, course.steps, folded=bool(reports[-1].folded))
    warnings.tell(request, late)
    ends = [end for pair in graph.ranges.values() for end in pair]
    last = checkpoint.prefix(request.out, progress.kept[-1])
    values = checkpoint.values(last, {end.op.name: end.shape.as_list() for end in ends})
    rewritten = rewriting.publish(request, reports[-1], values)
    return QuantizeFacts(learning.checkpoints(progress), rewritten, (*early, *late), learning.curve(progress))
