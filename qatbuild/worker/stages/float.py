"""The float stage: train the network without quantization."""

from __future__ import annotations

from pathlib import Path

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.facts import FloatFacts
from qatbuild.exchange.request import Request
from qatbuild.worker import models
from qatbuild.worker.stages import ends, learning, warnings
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.application import Application


def run(request: Request) -> FloatFacts:
    """Trains in float, from random or trained weights; publishes model.ckpt-<step> and events.

    Trained weights are those of the source "weights", restored by name and complete, or else those in the network's
    own file. With them 0 steps are allowed: then they are published unchanged.
    """
    target = learning.application(request)
    warnings.tell(request, warnings.of_classes(ends.dataset_facts(request), ends.taught(target.tasks)))
    settings = request.settings["train"]
    course = learning.course(settings, int(settings["steps"]), int(settings["log_every"]))
    weights = request.sources.get("weights")
    start_from = _own_weights(request, target) if weights is None else _prefix(weights.path)
    progress, _ = learning.learn(request, target, course, rewrite=None, start_from=start_from)
    checkpoints, curve = learning.checkpoints(progress), learning.curve(progress)
    return FloatFacts(checkpoints, start_from is not None, curve)


def _own_weights(request: Request, target: Application) -> Path | None:
    """Writes the weights of the network's own file as a checkpoint in the work folder; None if it has no weights."""
    values = models.initial({name: each.shape for name, each in target.inputs.items()}, target.network)
    if values is None:
        return None
    prefix = request.work / "own" / "model.ckpt"
    checkpoint.write(values, prefix)
    return prefix


def _prefix(path: Path) -> Path:
    """Returns the path of a checkpoint without suffix; StageError if it does not exist."""
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        hint = "model.weights is the path before .index of a TensorFlow checkpoint, relative to the spec"
        raise StageError("There is no such checkpoint.", [("model.weights", prefix)], hint)
    return prefix
