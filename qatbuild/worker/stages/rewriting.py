"""The quantizer's part of a request: its options, its rewrite for the training, and the facts.

The float stage does not import this module, so that a change of the quantizer leaves float trainings up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.facts import Rewritten
from qatbuild.exchange.files import write_text
from qatbuild.exchange.request import Request
from qatbuild.quantize.graph.quant_delay import STEP
from qatbuild.quantize.modes import rewrite_inference, rewrite_training
from qatbuild.quantize.options import Options, Override
from qatbuild.quantize.rewrite_report import RewriteReport
from qatbuild.worker.stages import learning
from qatbuild.worker.training.rewrite import Rewrite


def options(request: Request) -> Options:
    """The setting "quantize", with the input's scaling where the request has one (the mode tf1 does not read it)."""
    settings = request.settings["quantize"]
    scaling = learning.scaling(request)
    return Options(
        mean=scaling.zero_point,
        std_dev=scaling.std_dev,
        mode=settings["mode"],
        scheme=settings["scheme"],
        overrides=tuple(_override(**each) for each in settings["overrides"]),
        quant_delay_steps=int(settings.get("quant_delay", 0)),
        freeze_bn_delay_steps=settings.get("freeze_bn_delay"),
    )


def fake_quantization(asked: Options, reports: list[RewriteReport]) -> Rewrite:
    """Make the quantizer's rewrite for a training; a report of each rewritten training graph is added to `reports`."""

    def training(graph: tf.Graph, source: str, logits: str) -> dict[str, tuple[str, str]]:
        report = rewrite_training(graph, asked, input=source, logits=logits)
        reports.append(report)
        return ranges(report)

    def inference(graph: tf.Graph, source: str, logits: str) -> RewriteReport:
        return rewrite_inference(graph, asked, input=source, logits=logits)

    return Rewrite(training, inference, frozenset({STEP}))


def ranges(report: RewriteReport) -> dict[str, tuple[str, str]]:
    """The names of the (minimum, maximum) variables by tensor; fixed ranges are left out."""
    ends = [(row.min_variable, row.max_variable) for row in report.quantized if row.fixed is None]
    return {low.removesuffix("/min"): (low, high) for low, high in ends}


def publish(request: Request, report: RewriteReport, values: Mapping[str, NDArray[np.float32]]) -> Rewritten:
    """Publish the report as rewrite.json and return its facts.

    `values` holds the range variables by name. StageError naming each tensor with an empty range.
    """
    ends = {tensor: (values[low], values[high]) for tensor, (low, high) in ranges(report).items()}
    _refuse_empty(ends.items())
    write_text(request.out / "rewrite.json", report.to_json())
    listed = {tensor: [low.tolist(), high.tolist()] for tensor, (low, high) in ends.items()}
    return Rewritten(len(report.quantized), listed)


def _refuse_empty(ranges: Iterable[tuple[str, tuple[NDArray[np.float32], NDArray[np.float32]]]]) -> None:
    # `not <` also finds what is not a number.
    empty = []
    for tensor, (low, high) in ranges:
        bad = np.flatnonzero(~(np.atleast_1d(low) < np.atleast_1d(high)))
        if bad.size:
            first = f"{np.atleast_1d(low)[bad[0]]:g} .. {np.atleast_1d(high)[bad[0]]:g}"
            channels = f" in channels {', '.join(map(str, bad))}" if np.ndim(low) else ""
            empty.append((tensor, first + channels))
    if empty:
        hint = "Such a layer only gives zeros: lower the learning rate, or look at its weights in the float checkpoint."
        raise StageError("Fake-quantized tensors have no range after the training.", empty, hint)


def _override(layer: str, range: list[float] | None, bits: int | None, float: bool) -> Override:  # noqa: A002, FBT001
    ends = None if range is None else (range[0], range[1])
    return Override(layer, ends, bits, keep_float=float)
