"""The four functions that prepare a graph for quantization, in either mode.

mode "tf1" inserts the FakeQuants of tf.contrib.quantize; mode "integer" models everything that the integer runtime
rounds. Each mode is a wing with a module `rewrite` and a module `check`, imported by name when the mode is used: code
that only imports this module does not depend on either wing.

The graph is changed in place. Python handles of tensors (the logits, for instance) still refer to the tensor before its
FakeQuant, while its consumers in the graph (loss, softmax) read the FakeQuant. So call these functions after the
network and its softmax exist, and before the optimizer. Training and inference graph name their variables alike: each
restores the other's checkpoint.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from qatbuild.quantize.graph.names import each_of
from qatbuild.quantize.graph.refusals import refuse_authored
from qatbuild.quantize.options import Options
from qatbuild.quantize.rewrite_report import RewriteReport

Names = str | Sequence[str]
"""One name or several, of operations or tensors ("input:0")."""


def rewrite_training(graph: tf.Graph, options: Options, *, input: Names, logits: Names) -> RewriteReport:  # noqa: A002
    """Inserts FakeQuants that learn their ranges into a training graph, in place.

    `input` names the float32 tensors of real values, (byte - mean) / std_dev unless Options.input_ranges says else;
    `logits` the tensors at the network's ends, in front of what computes the results: Softmax, Sigmoid, Identity.
    RewriteError if the network cannot be rewritten.
    """
    rewrite = _wing(options.mode, "rewrite").rewrite_training
    report: RewriteReport = rewrite(graph, options, each_of(input), each_of(logits))
    return report


def rewrite_inference(graph: tf.Graph, options: Options, *, input: Names, logits: Names) -> RewriteReport:  # noqa: A002
    """Inserts FakeQuants with fixed ranges into an inference graph, in place; see `rewrite_training`."""
    rewrite = _wing(options.mode, "rewrite").rewrite_inference
    report: RewriteReport = rewrite(graph, options, each_of(input), each_of(logits))
    return report


def plan_inference(graph: tf.Graph, options: Options, *, input: Names, logits: Names) -> RewriteReport:  # noqa: A002
    """Folds the batch norms of an inference graph, in place, and returns the report of `rewrite_inference`.

    No FakeQuant is inserted: `RewriteReport.quantized` lists the tensors that would get one. For calibration.
    """
    rewrite = _wing(options.mode, "rewrite").plan_inference
    report: RewriteReport = rewrite(graph, options, each_of(input), each_of(logits))
    return report


def check_network(
    graph: tf.Graph,
    input: Names,  # noqa: A002
    logits: Names,
    hints: Mapping[str, str],
    options: Options | None = None,
) -> None:
    """Refuses a float inference network that the integer toolchain would not compute in integers throughout.

    In mode integer it refuses exactly the networks that the rewrite refuses. In mode tf1, and without `options`, it
    refuses the networks for which the ranges of tf.contrib.quantize are not sufficient.

    `input` and `logits`: see `rewrite_training`. `hints` maps a kind of operation ("LRN", "BatchNorm",
    an operation's type) to what the user can do about it. The graph is not changed.
    RewriteError with one fact per layer that would be computed in float: ("norm1", "LRN: why"). A layer that its author
    has named (quantize.graph.authored) is called that.
    """
    mode = "tf1" if options is None else options.mode
    refuse_authored(graph, hints, "" if mode == "integer" else 'with "mode": "integer": ')
    _wing(mode, "check").check_network(graph, each_of(input), each_of(logits), hints, options)


def _wing(mode: str, module: str) -> Any:
    return importlib.import_module(f"qatbuild.quantize.{mode}.{module}")
