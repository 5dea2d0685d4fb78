"""What the two stages that train have in common: a request in the words of the training room, and the facts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.artifact import Manifest
from qatbuild.errors import StageError
from qatbuild.request import Request
from qatbuild.training.batches import Augmentation, Batches, Images, Labels
from qatbuild.training.graph import Training, training
from qatbuild.training.inference import Network
from qatbuild.training.loop import Course, train
from qatbuild.training.optimizer import Optimizer
from qatbuild.training.resume import Progress
from qatbuild.training.rewrite import Rewrite
from qatbuild.training.schedule import Schedule
from qatbuild.training.validation import Validation


def network(request: Request) -> Network:
    """The network of a request for its dataset; afterwards the project's own modules can be imported."""
    project = str(request.project)
    if project not in sys.path:
        sys.path.insert(0, project)
    facts = request.inputs["dataset"].manifest.facts
    height, width, channels = facts["shape"]
    shape = (int(height), int(width), int(channels))
    mean, std_dev = (float(request.settings["input"][name]) for name in ("mean", "std_dev"))
    return Network(request.settings["model"], shape, int(facts["classes"]), mean, std_dev)


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
    arrays = Arrays.load(request.inputs["dataset"].manifest)
    if way.steps and not len(arrays.train_images):
        raise StageError("The dataset has no training images.")
    seed, augment = int(settings["seed"]), request.settings.get("augment") or {}
    augmentation = Augmentation(**augment, fill=round(min(max(target.mean, 0.0), 255.0)))
    batches = Batches(arrays.train_images, arrays.train_labels, int(settings["batch_size"]), seed, augmentation)
    optimizer = Optimizer(**settings["optimizer"])
    graph = training(target, optimizer, weight_decay=float(settings["weight_decay"]), seed=seed, rewrite=rewrite)
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


def facts(progress: Progress) -> dict[str, Any]:
    """What a manifest says of a training: which checkpoints there are, the last, the best, validation top-1."""
    top1 = {str(step): value for step, value in progress.validation_top1}
    return {"steps": progress.kept, "last": progress.kept[-1], "best": progress.best, "validation_top1": top1}
