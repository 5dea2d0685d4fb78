"""What the stages that train share: the training of a request, and its facts."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange import networks, saved_training
from qatbuild.exchange.errors import StageError
from qatbuild.exchange.facts import Checkpoints, Curve, FloatFacts
from qatbuild.exchange.request import Request
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker.datasets.examples import Examples, opened
from qatbuild.worker.stages import ends
from qatbuild.worker.training import checkpoint, log
from qatbuild.worker.training.application import Application
from qatbuild.worker.training.batches import Augmentation, Batches
from qatbuild.worker.training.graph import Training, training
from qatbuild.worker.training.loop import Course, train
from qatbuild.worker.training.optimizer import Optimizer
from qatbuild.worker.training.precision import available
from qatbuild.worker.training.resume import Progress
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.schedule import Schedule
from qatbuild.worker.training.validation import Validation

_CHECKED_VALUES = 1 << 22
"""Values of targets that are looked at together."""

_IMAGE_RANK = 3
_DIGITS = 4
"""Significant digits of a curve's numbers."""


def application(request: Request) -> Application:
    """The network of a request, with its inputs and tasks for the request's dataset."""
    file = request.sources.get("network")
    network = networks.read(request.settings["model"], file.path if file else None)
    return Application(network, ends.inputs_of(request), ends.tasks_of(request), ends.loss_weights(request))


def examples(request: Request, split: str) -> Examples:
    """The examples of a split of the request's dataset."""
    return opened(request.inputs["dataset"].manifest.folder, split, ends.dataset_facts(request))


def course(settings: Mapping[str, Any], steps: int, log_every: int) -> Course:
    """The course of a training from its settings "learning_rate" and "checkpoint_every"."""
    fields = dict(settings["learning_rate"])
    fields.update({name: tuple(fields.get(name) or ()) for name in ("boundaries", "values")})
    return Course(steps, Schedule(**fields), int(settings["checkpoint_every"]), log_every)


def learn(
    request: Request, target: Application, course: Course, *, rewrite: Rewrite | None, start_from: Path | None
) -> tuple[Progress, Training]:
    """Trains a network on the request's dataset by its settings "train"; publishes checkpoints and events."""
    settings = request.settings["train"]
    course = replace(course, precision=available(settings["precision"]))
    rows, held_out = examples(request, "train"), examples(request, "validation")
    if course.steps and not len(rows):
        raise StageError("The dataset has no training examples.")
    seed = int(settings["seed"])
    # The user's own network may draw from these while it is built.
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    batches = Batches(
        rows, target.columns, target.batch, int(settings["batch_size"]), seed, _augmentation(request, target)
    )
    optimizer = Optimizer(**settings["optimizer"])
    decay = float(settings["weight_decay"])
    graph = training(target, rows.columns, optimizer, weight_decay=decay, seed=seed, rewrite=rewrite)
    if not graph.trains:
        if rewrite is not None:
            raise StageError(
                "The network has no variables that a training could change.",
                [("network", target.network.title)],
                'Write "quantize": {"method": "ptq"}: it measures ranges, and leaves the weights as they are.',
            )
        course = replace(course, steps=0)
    _check_targets(target, rows, held_out, examples(request, "test"))
    _warn_of_random_streams(graph.graph)
    if start_from is None and course.steps:
        _rehearse_metrics(request, target)
    measured = len(held_out) and target.metrics
    validation = Validation(target, held_out, rewrite, request.threads) if measured else None
    try:
        progress = train(
            graph,
            batches,
            course,
            title=f"{request.stage} {target.network.title}",
            out=request.out,
            state=saved_training.folder_of(request.work),
            threads=request.threads,
            start_from=start_from,
            measure=None if validation is None else validation.metrics,
            better=target.better,
        )
    finally:
        if validation is not None:
            validation.close()
    return progress, graph


def _check_targets(target: Application, *splits: Examples) -> None:
    """Looks at every target before the training: an impossible one is an error, not a loss that is no number."""
    for rows in splits:
        values = sum(math.prod(rows.columns[name].shape) for name in target.targets)
        size, first = max(1, _CHECKED_VALUES // max(1, values)), 0
        for batch in rows.batches(size, target.targets) if target.targets else ():
            for task in target.tasks.values():
                task.check_values({name: batch[name] for name in task.targets if name in batch}, first)
            first += size


def _rehearse_metrics(request: Request, target: Application) -> None:
    """Calls the metrics of the user once before the training, with the examples that they will be called with first."""
    if not any(task.has_own_metrics for task in target.tasks.values()):
        return
    splits = (examples(request, split) for split in ("validation", "test"))
    rows = next((each for each in splits if len(each)), None)
    if rows is not None:
        rehearsal = Validation(target, rows, None, request.threads)
        try:
            rehearsal.rehearse()
        finally:
            rehearsal.close()


def _augmentation(request: Request, target: Application) -> Augmentation:
    """The random changes of the images: the inputs of bytes [height, width, channels], and targets that lie on them."""
    settings = request.settings.get("augment") or {}
    if not any(settings.values()):
        return Augmentation()
    fills = {
        each.column: each.fill
        for each in target.inputs.values()
        if isinstance(each.scaling, Scaling) and len(each.shape) == _IMAGE_RANK
    }
    for name, task in target.tasks.items():
        if task.moving_targets is None:
            facts = [("output", name), ("augment", ", ".join(key for key, value in settings.items() if value))]
            hint = 'Leave "augment" out of this spec.'
            raise StageError("The targets of an output cannot move with its images.", facts, hint)
        fills |= task.moving_targets
    return Augmentation(**settings, fills=fills)


def _warn_of_random_streams(graph: tf.Graph) -> None:
    """Logs the operations that draw from a stream of random numbers: after a resume they draw other numbers."""
    # Initializers are left out: they run once, before anything is saved.
    drawn = {op.name for op in graph.get_operations() if op.type.startswith("Random") and op.op_def.is_stateful}
    running = sorted(name for name in drawn if "/Initializer/" not in name)
    if running:
        log.write(f"After a resume these draw other numbers than without (see models.layers.dropout): {running}")


def checkpoints(progress: Progress) -> Checkpoints:
    """The checkpoints of a training that has ended, as facts."""
    figures = {str(step): value for step, value in progress.validation}
    return Checkpoints(tuple(progress.kept), progress.kept[-1], progress.best, progress.metric, figures)


def curve(progress: Progress) -> Curve | None:
    """The curve of a training that has ended, as facts; None without a step."""
    if not progress.curve.points:
        return None
    steps, losses, rates = zip(*progress.curve.points, strict=True)
    return Curve(tuple(map(int, steps)), *(tuple(map(_rounded, each)) for each in (losses, rates)))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def last_float_checkpoint(request: Request) -> Path:
    """The path without suffix of the last checkpoint of the stage `float`."""
    manifest = request.inputs["float"].manifest
    return checkpoint.prefix(manifest.folder, FloatFacts.of(manifest.facts).checkpoints.last)
