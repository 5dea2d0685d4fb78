"""The quantize stage by the method ptq: the float checkpoint's weights, with ranges measured on training images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.request import Request
from qatbuild.quantize.calibrate.calibration import calibrate
from qatbuild.quantize.calibrate.observers import Observer, observer
from qatbuild.quantize.modes import plan_inference
from qatbuild.quantize.options import Options
from qatbuild.quantize.rewrite_report import RewriteReport
from qatbuild.worker import console
from qatbuild.worker.stages import learning, rewriting, warnings
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.batches import Batches, Images
from qatbuild.worker.training.inference import Network, inference
from qatbuild.worker.training.resume import Progress
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.session import session
from qatbuild.worker.training.validation import Validation

v1 = tf.compat.v1

BATCH = 32


def run(request: Request) -> dict[str, Any]:
    """Publish model.ckpt-0, the float stage's last weights with measured ranges, and rewrite.json.

    The images are the first of the order in which a training with train.seed sees them, without augmentation: no
    validation or test image is looked at. StageError if the dataset has fewer; RewriteError if a range cannot be
    measured. The facts are those of a training.
    """
    network, asked = learning.network(request), rewriting.options(request)
    settings = request.settings["quantize"]["calibration"]
    arrays = learning.Arrays.load(request.inputs["dataset"].manifest)
    images = _chosen(arrays.train_images, int(settings["images"]), int(request.settings["train"]["seed"]))
    given = request.inputs["float"].manifest
    weights = checkpoint.prefix(given.folder, int(given.facts["last"]))
    values = _measure(network, asked, settings, images, weights)
    rewrite, prefix = rewriting.fake_quantization(asked, []), checkpoint.prefix(request.out, 0)
    report = _publish(network, rewrite, values, weights, prefix)
    told = warnings.of_calibration(request, folded=bool(report.folded))
    warnings.tell(request, told)
    progress = Progress()
    progress.keep(0, _top1(network, arrays, rewrite, prefix))
    return {**learning.facts(progress), **rewriting.facts(request, report, values), "warnings": told}


def _top1(network: Network, arrays: learning.Arrays, rewrite: Rewrite, prefix: Path) -> float | None:
    if not len(arrays.validation_images):
        return None
    validation = Validation(network, arrays.validation_images, arrays.validation_labels, rewrite)
    try:
        return validation.top1(prefix)
    finally:
        validation.close()


def _chosen(images: Images, count: int, seed: int) -> Images:
    if count > len(images):
        facts: list[tuple[str, object]] = [("quantize.calibration.images", count), ("training images", len(images))]
        hint = f"Lower quantize.calibration.images to {len(images)} or less."
        raise StageError("There are fewer training images than the calibration asks for.", facts, hint)
    index = Batches(images, np.zeros(len(images), np.int32), count, seed).index(0)
    return images[index]


def _measure(
    network: Network, asked: Options, settings: Mapping[str, Any], images: Images, weights: Path
) -> dict[str, NDArray[np.float32]]:
    target = inference(network)
    plan = plan_inference(target.graph, asked, input=target.input, logits=target.logits)

    def new_observer() -> Observer:
        return observer(settings["range"], settings["percentile"])

    total = new_observer().passes * len(images)
    with (
        target.graph.as_default(),
        session(target.graph) as opened,
        tqdm(total=total, desc=f"quantize {network.title}", unit="image", **console.bar()) as bar,
    ):
        checkpoint.restore(opened, v1.global_variables(), weights)
        batches = _batches(network, images, bar.update)
        return calibrate(opened, plan, target.input, batches, new_observer)


def _batches(
    network: Network, images: Images, done: Callable[[int], Any]
) -> Callable[[], Iterator[NDArray[np.float32]]]:
    def once() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            yield (batch.astype(np.float32) - np.float32(network.mean)) / np.float32(network.std_dev)
            done(len(batch))

    return once


def _publish(
    network: Network, rewrite: Rewrite, values: dict[str, NDArray[np.float32]], weights: Path, prefix: Path
) -> RewriteReport:
    """Write the checkpoint that the rewritten inference graph restores, and say what the rewrite did."""
    reports: list[RewriteReport] = []

    def noted(graph: tf.Graph, source: str, logits: str) -> None:
        report = rewrite.inference(graph, source, logits)
        assert isinstance(report, RewriteReport)
        reports.append(report)

    target = inference(network, noted)
    with target.graph.as_default():
        shapes = {variable.op.name: variable.shape.as_list() for variable in v1.global_variables()}
    model = checkpoint.values(weights, {name: shape for name, shape in shapes.items() if name not in values})
    checkpoint.write({**model, **values, "global_step": np.array(0, np.int64)}, prefix)
    return reports[-1]
