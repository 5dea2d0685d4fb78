"""The float stage: train the network as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qatbuild.errors import StageError
from qatbuild.request import Request
from qatbuild.stages import learning


def run(request: Request) -> dict[str, Any]:
    """Train in float, from random weights or from the source "weights"; publishes model.ckpt-<step> and events.

    The weights of a source are restored by name, all of the network's or none. With them, 0 steps are allowed: then
    they are published as they are. The input "check" says that the network can become an integer one.
    """
    network = learning.network(request)
    settings = request.settings["train"]
    course = learning.course(settings, int(settings["steps"]), int(settings["log_every"]))
    weights = request.sources.get("weights")
    start_from = None if weights is None else _prefix(weights.path)
    progress, _ = learning.learn(request, network, course, rewrite=None, start_from=start_from)
    return learning.facts(progress)


def _prefix(path: Path) -> Path:
    """A checkpoint's path without suffix; StageError if there is none."""
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        hint = "model.weights is the path before .index of a TensorFlow checkpoint, relative to the spec"
        raise StageError("There is no such checkpoint.", [("model.weights", prefix)], hint)
    return prefix
