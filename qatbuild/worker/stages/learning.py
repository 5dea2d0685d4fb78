"""What the stages that train share: the training of a request, and its facts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange import networks
from qatbuild.exchange.errors import StageError
from qatbuild.exchange.facts import Checkpoints, DatasetFacts, FloatFacts
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from qatbuild.exchange.scaling import UNSCALED, Scaling
from qatbuild.worker.training import checkpoint, log
from qatbuild.worker.training.batches import Augmentation, Batches, Images, Labels
from qatbuild.worker.training.graph import Training, training
from qatbuild.worker.training.inference import Classifier
from qatbuild.worker.training.loop import Course, train
from qatbuild.worker.training.optimizer import Optimizer
from qatbuild.worker.training.precision import available
from qatbuild.worker.training.resume import Progress
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.schedule import Schedule
from qatbuild.worker.training.validation import Validation


def classifier(request: Request) -> Classifier:
    """The network of a request for the images and classes of its dataset."""
    dataset = DatasetFacts.of(request.inputs["dataset"].manifest.facts)
    file = request.sources.get("network")
    network = networks.read(request.settings["model"], file.path if file else None)
    return Classifier(network, dataset.shape, dataset.classes, scaling(request))


def scaling(request: Request) -> Scaling:
    """The setting "input"; stages that see no bytes have none, and do not scale."""
    settings = request.settings.get("input")
    return Scaling.of(settings) if settings else UNSCALED


@dataclass(frozen=True)
class Arrays:
    """The training and validation images, uint8 [n, height, width, channels], and labels, int32 [n]."""

    train_images: Images
    train_labels: Labels
    validation_images: Images
    validation_labels: Labels

    @classmethod
    def load(cls, dataset: Manifest) -> Arrays:
        """Read the arrays that a dataset stage left."""
        with np.load(dataset.file("dataset.npz")) as arrays:
            return cls(**{name: arrays[name] for name in cls.__dataclass_fields__})


def course(settings: Mapping[str, Any], steps: int, log_every: int) -> Course:
    """The course of a training from its settings "learning_rate" and "checkpoint_every"."""
    fields = dict(settings["learning_rate"])
    fields.update({name: tuple(fields.get(name) or ()) for name in ("boundaries", "values")})
    return Course(steps, Schedule(**fields), int(settings["checkpoint_every"]), log_every)


def learn(
    request: Request, target: Classifier, course: Course, *, rewrite: Rewrite | None, start_from: Path | None
) -> tuple[Progress, Training]:
    """Train a network on the request's dataset by its settings "train"; publish checkpoints and events."""
    settings = request.settings["train"]
    course = replace(course, precision=available(settings["precision"]))
    arrays = Arrays.load(request.inputs["dataset"].manifest)
    if course.steps and not len(arrays.train_images):
        raise StageError("The dataset has no training images.")
    seed, augment = int(settings["seed"]), request.settings.get("augment") or {}
    # The user's own network may draw from these while it is built.
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    augmentation = Augmentation(**augment, fill=target.scaling.zero_point)
    batches = Batches(arrays.train_images, arrays.train_labels, int(settings["batch_size"]), seed, augmentation)
    optimizer = Optimizer(**settings["optimizer"])
    graph = training(target, optimizer, weight_decay=float(settings["weight_decay"]), seed=seed, rewrite=rewrite)
    if not graph.trains:
        if rewrite is not None:
            raise StageError(
                "The network has no variables that a training could change.",
                [("network", target.network.title)],
                'Write "quantize": {"method": "ptq"}: it measures ranges, and leaves the weights as they are.',
            )
        course = replace(course, steps=0)
    _warn_of_random_streams(graph.graph)
    images, labels = arrays.validation_images, arrays.validation_labels
    validation = Validation(target, images, labels, rewrite, request.threads) if len(images) else None
    try:
        progress = train(
            graph,
            batches,
            course,
            title=f"{request.stage} {target.network.title}",
            out=request.out,
            state=request.work / "resume",
            threads=request.threads,
            start_from=start_from,
            top1=None if validation is None else validation.top1,
        )
    finally:
        if validation is not None:
            validation.close()
    return progress, graph


def _warn_of_random_streams(graph: tf.Graph) -> None:
    """Log the operations that draw from a stream of random numbers: after a resume they draw other numbers."""
    # Initializers are left out: they run once, before anything is saved.
    drawn = {op.name for op in graph.get_operations() if op.type.startswith("Random") and op.op_def.is_stateful}
    running = sorted(name for name in drawn if "/Initializer/" not in name)
    if running:
        log.write(f"After a resume these draw other numbers than without (see models.layers.dropout): {running}")


def checkpoints(progress: Progress) -> Checkpoints:
    """The checkpoints of a training that has ended, as facts."""
    top1 = {str(step): value for step, value in progress.validation_top1}
    return Checkpoints(tuple(progress.kept), progress.kept[-1], progress.best, top1)


def last_float_checkpoint(request: Request) -> Path:
    """The path without suffix of the last checkpoint of the stage `float`."""
    manifest = request.inputs["float"].manifest
    return checkpoint.prefix(manifest.folder, FloatFacts.of(manifest.facts).checkpoints.last)
