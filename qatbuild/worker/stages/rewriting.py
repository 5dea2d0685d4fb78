"""The quantizer's part of a request: its options, its rewrite for the training, and the facts.

The float stage does not import this module, so that a change of the quantizer leaves float trainings up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.facts import CheckFacts, Rewritten
from qatbuild.exchange.files import write_text
from qatbuild.exchange.outputs import read_outputs
from qatbuild.exchange.request import Request
from qatbuild.exchange.scaling import InputScaling, RealInput, Scaling, read_inputs
from qatbuild.quantize.graph.integer_ops import SCALING
from qatbuild.quantize.graph.quant_delay import STEP
from qatbuild.quantize.modes import check_network, plan_inference, rewrite_inference, rewrite_training
from qatbuild.quantize.options import Options, Override
from qatbuild.quantize.rewrite_report import RewriteReport
from qatbuild.worker.training.application import op_name
from qatbuild.worker.training.inference import Inference
from qatbuild.worker.training.rewrite import Ends, Rewrite

NETWORK = "network.meta"
"""The file of the stage `check`: the network for inference, without quantization, with initial values as weights."""

_IMAGES = "images"
"""The input that the spec's short form names."""


def checked_network(request: Request) -> Inference:
    """The network for inference that the stage `check` has built."""
    manifest = request.inputs["check"].manifest
    facts = CheckFacts.of(manifest.facts)
    return Inference.parsed(manifest.file(NETWORK).read_bytes(), facts.inputs, facts.tensors, facts.outputs)


def options(request: Request) -> Options:
    """The setting "quantize", with the scaling of the inputs (the mode tf1 does not read it)."""
    settings = request.settings["quantize"]
    scalings = read_inputs(request.settings["inputs"])
    usual = next((each for each in scalings.values() if isinstance(each, Scaling)), Scaling(0.0, 1.0))
    return Options(
        mean=usual.zero_point,
        std_dev=usual.std_dev,
        mode=settings["mode"],
        scheme=settings["scheme"],
        overrides=tuple(_override(**each) for each in settings["overrides"]),
        quant_delay_steps=int(settings.get("quant_delay", 0)),
        freeze_bn_delay_steps=settings.get("freeze_bn_delay"),
        input_ranges={op_name(name, len(scalings)): _range(each) for name, each in scalings.items() if each != usual},
        folded_inputs=frozenset(op_name(name, len(scalings)) for name in _by_channel(scalings)),
    )


def _range(scaling: InputScaling) -> tuple[float, float] | None:
    return scaling.range if isinstance(scaling, RealInput) else scaling.real_range


def _by_channel(scalings: Mapping[str, InputScaling]) -> dict[str, Scaling]:
    """The inputs whose channels have scalings of their own."""
    return {name: each for name, each in scalings.items() if isinstance(each, Scaling) and each.factors}


def quantizer(request: Request) -> Quantizer:
    """The quantizer of a request."""
    outputs = read_outputs(request.settings)
    ranges = {name: each.range for name, each in outputs.items() if each.range is not None}
    scalings = _by_channel(read_inputs(request.settings["inputs"]))
    return Quantizer(options(request), ranges, _scaling_hint(scalings))


def _scaling_hint(scalings: Mapping[str, Scaling]) -> str:
    """What to write for scalings by channel that cannot become a part of the first layers."""
    texts = []
    for name, each in scalings.items():
        assert each.channels is not None
        means, deviations = each.channels
        order = "" if each.order == "rgb" else f', "order": "{each.order}"'
        fields = f'{{"mean": 0, "std_dev": 1{order}}}'
        written = f'"input": {fields}' if name == _IMAGES else f'"inputs": {{"{name}": {fields}}}'
        layer = f"mean={_list(means)}, variance={_list(deviation**2 for deviation in deviations)}"
        texts.append(f"write {written}, and begin the network with keras.layers.Normalization({layer})")
    return "; ".join(texts)


def _list(values: Iterable[float]) -> str:
    return f"[{', '.join(f'{value:.10g}' for value in values)}]"


class Quantizer(NamedTuple):
    """The rewrites of a graph by some options, with fixed ranges of outputs by name.

    `scaling_hint` is what to write where the scalings by channel cannot become a part of the first layers.
    """

    options: Options
    output_ranges: Mapping[str, tuple[float, float]]
    scaling_hint: str = ""

    def training(self, graph: tf.Graph, inputs: Ends, tensors: Ends) -> RewriteReport:
        """Inserts FakeQuants that learn their ranges."""
        return rewrite_training(graph, self._options(tensors), **_ends(inputs, tensors))

    def inference(self, graph: tf.Graph, inputs: Ends, tensors: Ends) -> RewriteReport:
        """Inserts FakeQuants with fixed ranges."""
        return rewrite_inference(graph, self._options(tensors), **_ends(inputs, tensors))

    def plan(self, graph: tf.Graph, inputs: Ends, tensors: Ends) -> RewriteReport:
        """Folds the batch norms and returns the report of `inference`."""
        return plan_inference(graph, self._options(tensors), **_ends(inputs, tensors))

    def check(self, graph: tf.Graph, inputs: Ends, tensors: Ends, hints: Mapping[str, str]) -> None:
        """Refuses a network that cannot become fully integer."""
        if self.scaling_hint:
            hints = {**hints, SCALING: self.scaling_hint}
        check_network(graph, hints=hints, options=self._options(tensors), **_ends(inputs, tensors))

    def _options(self, tensors: Ends) -> Options:
        fixed = {tensors[name]: ends for name, ends in self.output_ranges.items() if name in tensors}
        return replace(self.options, output_ranges=fixed) if fixed else self.options


def _ends(inputs: Ends, tensors: Ends) -> dict[str, list[str]]:
    """The names of inputs and ends, each once."""
    return {"input": list(dict.fromkeys(inputs.values())), "logits": list(dict.fromkeys(tensors.values()))}


def fake_quantization(asked: Quantizer, reports: list[RewriteReport]) -> Rewrite:
    """Makes the quantizer's rewrite for a training; a report of each rewritten training graph is added to `reports`."""

    def training(graph: tf.Graph, inputs: Ends, tensors: Ends) -> dict[str, tuple[str, str]]:
        report = asked.training(graph, inputs, tensors)
        reports.append(report)
        return ranges(report)

    return Rewrite(training, asked.inference, frozenset({STEP}))


def ranges(report: RewriteReport) -> dict[str, tuple[str, str]]:
    """The names of the (minimum, maximum) variables by tensor; fixed ranges are left out."""
    ends = [(row.min_variable, row.max_variable) for row in report.quantized if row.fixed is None]
    return {low.removesuffix("/min"): (low, high) for low, high in ends}


def publish(request: Request, report: RewriteReport, values: Mapping[str, NDArray[np.float32]]) -> Rewritten:
    """Publishes the report as rewrite.json and returns its facts.

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
