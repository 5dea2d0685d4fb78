"""The check stage: can this network become fully integer? Asked before a training spends hours on it.

It is a stage of its own, so that a change of the check does not make a training stale: an equal answer cuts it off.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from qatbuild.exchange.request import Request
from qatbuild.quantize.modes import check_network
from qatbuild.worker import models
from qatbuild.worker.stages import learning, rewriting
from qatbuild.worker.training.inference import inference


def run(request: Request) -> dict[str, Any]:
    """Leave no file but the facts: how many operations of each type the network has.

    RewriteError if the network has an operation that the integer toolchain cannot take, naming each with its layer and
    the cure; StageError if the network cannot take images of the dataset's shape.
    """
    network = learning.network(request)
    target = inference(network)
    cures = models.cures(network.model)
    check_network(target.graph, target.input, target.logits, cures, rewriting.options(request))
    types = Counter(operation.type for operation in target.graph.get_operations())
    return {"operations": dict(sorted(types.items()))}
