"""What the two stages that train have in common: a request in the words of the training room, and the facts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from qatbuild.worker.training import log
from qatbuild.worker.training.batches import Augmentation, Batches, Images, Labels
from qatbuild.worker.training.graph import Training, training
from qatbuild.worker.training.inference import Network
from qatbuild.worker.training.loop import Course, train
from qatbuild.worker.training.optimizer import Optimizer
from qatbuild.worker.training.precision import available
from qatbuild.worker.training.resume import Progress
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.schedule import Schedule
from qatbuild.worker.training.validation import Validation


def network(request: Request) -> Network:
    """The network of a request for its dataset. Stages that see no bytes have no "input": for them 0 and 1 serve."""
    facts = request.inputs["dataset"].manifest.facts
    height, width, channels = facts["shape"]
    shape = (int(height), int(width), int(channels))
    scaling = request.settings.get("input") or {"mean": 0.0, "std_dev": 1.0}
    model, mean, std_dev = dict(request.settings["model"]), float(scaling["mean"]), float(scaling["std_dev"])
    for kind in {"keras", "meta_graph"} & set(model):
        model[kind] = str(request.sources["network"].path)
    return Network(model, shape, int(facts["classes"]), mean, std_dev)


@dataclass(frozen=True)
class Arrays:
    """The training and validation images, uint8 [n, height, width, channels], and labels, int32 [n]."""

    train_images: Images
    train_labels: Labels
    validation_images: Images
    validation_labels: Labels

    @classmethod
    def load(cls, dataset: Manifest) -> Arrays:
        """Those of a dataset stage."""
        with np.load(dataset.file("dataset.npz")) as arrays:
            return cls(**{name: arrays[name] for name in cls.__dataclass_fields__})


def course(settings: Mapping[str, Any], steps: int, log_every: int) -> Course:
    """The course of a training from its "learning_rate" and "checkpoint_every" (by default a fifth of the steps)."""
    fields = dict(settings["learning_rate"])
    fields.update({name: tuple(fields.get(name) or ()) for name in ("boundaries", "values")})
    every = settings.get("checkpoint_every") or max(steps // 5, 1)
    return Course(steps, Schedule(**fields), int(every), log_every)


def learn(
    request: Request, target: Network, way: Course, *, rewrite: Rewrite | None, start_from: Path | None
) -> tuple[Progress, Training]:
    """Train the network on the request's dataset as its "train" settings say; publishes checkpoints and events."""
    settings = request.settings["train"]
    way = replace(way, precision=available(settings["precision"]))
    arrays = Arrays.load(request.inputs["dataset"].manifest)
    if way.steps and not len(arrays.train_images):
        raise StageError("The dataset has no training images.")
    seed, augment = int(settings["seed"]), request.settings.get("augment") or {}
    # The user's own network may draw from these while it is built.
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    augmentation = Augmentation(**augment, fill=round(min(max(target.mean, 0.0), 255.0)))
    batches = Batches(arrays.train_images, arrays.train_labels, int(settings["batch_size"]), seed, augmentation)
    optimizer = Optimizer(**settings["optimizer"])
    graph = training(target, optimizer, weight_decay=float(settings["weight_decay"]), seed=seed, rewrite=rewrite)
    _warn_of_random_streams(graph.graph)
    images, labels = arrays.validation_images, arrays.validation_labels
    validation = Validation(target, images, labels, rewrite) if len(images) else None
    try:
        progress = train(
            graph,
            batches,
            way,
            title=f"{request.stage} {target.title}",
            out=request.out,
            state=request.work / "resume",
            start_from=start_from,
            top1=None if validation is None else validation.top1,
        )
    finally:
        if validation is not None:
            validation.close()
    return progress, graph


def _warn_of_random_streams(graph: tf.Graph) -> None:
    """Say in the log which operations draw from a stream: after a resume they draw other numbers."""
    # Only the network's: what initializes variables runs once, and before anything is saved.
    drawn = {op.name for op in graph.get_operations() if op.type.startswith("Random") and op.op_def.is_stateful}
    running = sorted(name for name in drawn if "/Initializer/" not in name)
    if running:
        log.write(f"After a resume these draw other numbers than without (see models.layers.dropout): {running}")


def facts(progress: Progress) -> dict[str, Any]:
    """What a manifest says of a training: which checkpoints there are, the last, the best, validation top-1."""
    top1 = {str(step): value for step, value in progress.validation_top1}
    return {"steps": progress.kept, "last": progress.kept[-1], "best": progress.best, "validation_top1": top1}
