"""The float stage: train the network as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.request import Request
from qatbuild.worker import models
from qatbuild.worker.stages import learning
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.inference import Network


def run(request: Request) -> dict[str, Any]:
    """Train in float, from random weights or from given ones; publishes model.ckpt-<step> and events.

    Given are those of the source "weights", restored by name, all of the network's or none, or else those of the
    network's own file. With them, 0 steps are allowed: then they are published as they are.
    """
    network = learning.network(request)
    settings = request.settings["train"]
    course = learning.course(settings, int(settings["steps"]), int(settings["log_every"]))
    weights = request.sources.get("weights")
    start_from = _own_weights(request, network) if weights is None else _prefix(weights.path)
    progress, _ = learning.learn(request, network, course, rewrite=None, start_from=start_from)
    return {**learning.facts(progress), "from_weights": start_from is not None}


def _own_weights(request: Request, network: Network) -> Path | None:
    """The weights of the network's own file as a checkpoint in the work folder, None if it has none."""
    values = models.initial(network.shape, network.model)
    if values is None:
        return None
    prefix = request.work / "own" / "model.ckpt"
    checkpoint.write(values, prefix)
    return prefix


def _prefix(path: Path) -> Path:
    """A checkpoint's path without suffix; StageError if there is none."""
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        hint = "model.weights is the path before .index of a TensorFlow checkpoint, relative to the spec"
        raise StageError("There is no such checkpoint.", [("model.weights", prefix)], hint)
    return prefix
