"""The quantize stage with the method ptq: the float weights, and ranges measured on training images."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.facts import QuantizeFacts
from qatbuild.exchange.request import Request
from qatbuild.quantize.calibrate.calibration import calibrate
from qatbuild.quantize.calibrate.observers import Observer, observer
from qatbuild.quantize.modes import plan_inference
from qatbuild.quantize.options import Options
from qatbuild.quantize.rewrite_report import RewriteReport
from qatbuild.worker import console
from qatbuild.worker.graph_outputs import real_batches
from qatbuild.worker.stages import learning, rewriting, warnings
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.batches import Batches, Images
from qatbuild.worker.training.inference import Classifier, inference
from qatbuild.worker.training.resume import Progress
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.session import session
from qatbuild.worker.training.validation import Validation

v1 = tf.compat.v1

BATCH = 32

_ENOUGH = 512
"""Images from which ranges are measured by default: more change them by less than the rounding."""


def run(request: Request) -> QuantizeFacts:
    """Publish model.ckpt-0, the float stage's last weights with measured ranges, and rewrite.json.

    The images are the first that a training with train.seed sees, without augmentation; validation and test images
    are never used. StageError if the dataset has fewer images; RewriteError if a range cannot be measured.
    """
    target, asked = learning.classifier(request), rewriting.options(request)
    settings = request.settings["quantize"]["calibration"]
    arrays = learning.Arrays.load(request.inputs["dataset"].manifest)
    images = _chosen(arrays.train_images, settings["images"], int(request.settings["train"]["seed"]))
    weights = learning.last_float_checkpoint(request)
    values = _measure(target, asked, settings, images, weights, threads=request.threads)
    rewrite, prefix = rewriting.fake_quantization(asked, []), checkpoint.prefix(request.out, 0)
    report = _write_checkpoint(target, rewrite, values, weights, prefix)
    texts = warnings.of_calibration(request, len(images), len(arrays.train_images), folded=bool(report.folded))
    warnings.tell(request, texts)
    progress = Progress()
    progress.keep(0, _top1(target, arrays, rewrite, prefix, request.threads))
    rewritten = rewriting.publish(request, report, values)
    return QuantizeFacts(learning.checkpoints(progress), rewritten, tuple(texts))


def _top1(target: Classifier, arrays: learning.Arrays, rewrite: Rewrite, prefix: Path, threads: int) -> float | None:
    if not len(arrays.validation_images):
        return None
    validation = Validation(target, arrays.validation_images, arrays.validation_labels, rewrite, threads)
    try:
        return validation.top1(prefix)
    finally:
        validation.close()


def _chosen(images: Images, count: int | None, seed: int) -> Images:
    """Return `count` training images; without a count up to _ENOUGH, all if the dataset has fewer."""
    if not len(images):
        raise StageError("The dataset has no training images to measure ranges on.")
    if count is None:
        count = min(_ENOUGH, len(images))
    if count > len(images):
        facts = [("quantize.calibration.images", count), ("training images", len(images))]
        hint = f"Lower quantize.calibration.images to {len(images)} or less, or leave it out: all are taken then."
        raise StageError("The dataset has fewer training images than quantize.calibration.images.", facts, hint)
    index = Batches(images, np.zeros(len(images), np.int32), count, seed).index(0)
    return images[index]


def _measure(
    target: Classifier,
    asked: Options,
    settings: Mapping[str, Any],
    images: Images,
    weights: Path,
    *,
    threads: int,
) -> dict[str, NDArray[np.float32]]:
    """Return the values of the range variables by name, measured in the float graph with a checkpoint's weights."""
    built = inference(target)
    plan = plan_inference(built.graph, asked, input=built.input, logits=built.logits)

    def new_observer() -> Observer:
        return observer(settings["range"], settings["percentile"])

    total = new_observer().passes * len(images)
    with (
        built.graph.as_default(),
        # As written: among the observed tensors are those that TensorFlow would fuse away.
        session(built.graph, threads, as_written=True) as opened,
        tqdm(total=total, desc=f"quantize {target.network.title}", unit="image", **console.bar()) as bar,
    ):
        checkpoint.restore(opened, v1.global_variables(), weights)
        batches = functools.partial(real_batches, images, target.scaling, BATCH, bar.update)
        return calibrate(opened, plan, built.input, batches, new_observer)


def _write_checkpoint(
    target: Classifier, rewrite: Rewrite, values: dict[str, NDArray[np.float32]], weights: Path, prefix: Path
) -> RewriteReport:
    """Write the checkpoint for the rewritten inference graph; return the report of the rewrite."""
    reports: list[RewriteReport] = []

    def noted(graph: tf.Graph, source: str, logits: str) -> None:
        report = rewrite.inference(graph, source, logits)
        assert isinstance(report, RewriteReport)
        reports.append(report)

    built = inference(target, noted)
    with built.graph.as_default():
        shapes = {variable.op.name: variable.shape.as_list() for variable in v1.global_variables()}
    model = checkpoint.values(weights, {name: shape for name, shape in shapes.items() if name not in values})
    checkpoint.write({**model, **values, "global_step": np.array(0, np.int64)}, prefix)
    return reports[-1]
