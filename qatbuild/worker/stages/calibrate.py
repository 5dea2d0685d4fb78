"""The quantize stage with the method ptq: the float weights, and ranges measured on training examples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.facts import QuantizeFacts
from qatbuild.exchange.request import Request
from qatbuild.quantize.calibrate.calibration import calibrate
from qatbuild.quantize.calibrate.observers import Observer, observer
from qatbuild.quantize.rewrite_report import RewriteReport
from qatbuild.worker import console
from qatbuild.worker.datasets.examples import Examples
from qatbuild.worker.datasets.rows import Indices
from qatbuild.worker.stages import learning, rewriting, warnings
from qatbuild.worker.stages.rewriting import Quantizer
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.application import Application
from qatbuild.worker.training.batches import order
from qatbuild.worker.training.inference import Inference
from qatbuild.worker.training.resume import Progress
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.session import session
from qatbuild.worker.training.validation import Validation

v1 = tf.compat.v1

BATCH = 32
_BATCH_BYTES = 1 << 28
"""Bytes of all observed tensors of a batch: they are fetched together."""

Values = dict[str, NDArray[Any]]

_ENOUGH = 512
"""Examples from which ranges are measured by default: more change them by less than the rounding."""


def run(request: Request) -> QuantizeFacts:
    """Publishes model.ckpt-0, the float stage's last weights with measured ranges, and rewrite.json.

    The examples are the first that a training with train.seed sees, without augmentation; validation and test examples
    are never used. StageError if the dataset has fewer; RewriteError if a range cannot be measured.
    """
    target, asked = learning.application(request), rewriting.quantizer(request)
    settings = request.settings["quantize"]["calibration"]
    rows = learning.examples(request, "train")
    index = _chosen(rows, settings["images"], int(request.settings["train"]["seed"]))
    weights = learning.last_float_checkpoint(request)
    sample, built = _Sample(target, rows, index), rewriting.checked_network(request)
    model, report, values = _measure(built, sample, asked, settings, weights, threads=request.threads)
    rewrite, prefix = rewriting.fake_quantization(asked, []), checkpoint.prefix(request.out, 0)
    checkpoint.write({**model, **values, "global_step": np.array(0, np.int64)}, prefix)
    texts = warnings.of_calibration(request, len(index), len(rows), folded=bool(report.folded))
    warnings.tell(request, texts)
    progress = Progress(better=target.better)
    progress.keep(0, _validated(target, learning.examples(request, "validation"), rewrite, prefix, request.threads))
    rewritten = rewriting.publish(request, report, values)
    return QuantizeFacts(learning.checkpoints(progress), rewritten, tuple(texts))


def _validated(
    target: Application, held_out: Examples, rewrite: Rewrite, prefix: Path, threads: int
) -> dict[str, float]:
    if not (len(held_out) and target.metrics):
        return {}
    validation = Validation(target, held_out, rewrite, threads)
    try:
        return validation.metrics(prefix)
    finally:
        validation.close()


def _chosen(rows: Examples, count: int | None, seed: int) -> Indices:
    """Returns the indices of `count` training examples; without a count up to _ENOUGH, all if the dataset has fewer."""
    if not len(rows):
        raise StageError("The dataset has no training examples to measure ranges on.")
    if count is None:
        count = min(_ENOUGH, len(rows))
    if count > len(rows):
        facts = [("quantize.calibration.images", count), ("training examples", len(rows))]
        hint = f"Lower quantize.calibration.images to {len(rows)} or less, or leave it out: all are taken then."
        raise StageError("The dataset has fewer training examples than quantize.calibration.images.", facts, hint)
    return order(len(rows), seed, 0)[:count].astype(np.int64)


class _Sample(NamedTuple):
    """The examples that ranges are measured on."""

    target: Application
    rows: Examples
    taken: Indices

    def batches(self, size: int, done: Callable[[int], object]) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Yields real values by the name of the input's operation, at most `size` examples at a time."""
        columns = [each.column for each in self.target.inputs.values()]
        for start in range(0, len(self.taken), size):
            part = self.taken[start : start + size]
            feed = self.target.feed(self.rows.read(part, columns))
            yield {name.partition(":")[0]: values for name, values in feed.items()}
            done(len(part))


def _measure(
    built: Inference, sample: _Sample, asked: Quantizer, settings: Mapping[str, Any], weights: Path, *, threads: int
) -> tuple[Values, RewriteReport, Values]:
    """Returns a checkpoint's values of the network's variables, the plan of its rewrite, and the values of its ranges.

    The ranges are measured in the float graph with the checkpoint's weights; all values are by the variable's name.
    """
    with built.graph.as_default():
        shapes = {variable.op.name: variable.shape.as_list() for variable in v1.global_variables()}
    plan = asked.plan(built.graph, built.inputs, built.tensors)

    size = batch_size(built.graph, [row.tensor for row in plan.quantized])

    def new_observer() -> Observer:
        return observer(settings["range"], settings["percentile"])

    total, title = new_observer().passes * len(sample.taken), f"quantize {sample.target.network.title}"
    with (
        built.graph.as_default(),
        # As written: among the observed tensors are those that TensorFlow would fuse away.
        session(built.graph, threads, as_written=True) as opened,
        console.bar(total=total, desc=title, unit="example") as bar,
    ):
        checkpoint.restore(opened, v1.global_variables(), weights)
        sources = list(built.inputs.values())
        values = calibrate(opened, plan, sources, functools.partial(sample.batches, size, bar.update), new_observer)
    return checkpoint.values(weights, shapes), plan, values


def batch_size(graph: tf.Graph, observed: Iterable[str]) -> int:
    """Returns how many examples to run together: fewer if their observed tensors, float32, are large."""
    shapes = [graph.get_tensor_by_name(name).shape for name in observed]
    values = sum(shape[1:].num_elements() or 0 for shape in shapes if shape.rank and shape[0] is None)
    return max(1, min(BATCH, _BATCH_BYTES // (4 * max(1, values))))
