"""The check stage: whether a network can become fully integer, before any training.

A stage of its own, so that a change of the check does not make a training stale.
"""

from __future__ import annotations

from collections import Counter

from qatbuild.exchange.facts import CheckFacts
from qatbuild.exchange.request import Request
from qatbuild.quantize.modes import check_network
from qatbuild.worker import models
from qatbuild.worker.stages import learning, rewriting
from qatbuild.worker.training.inference import inference


def run(request: Request) -> CheckFacts:
    """Check the network and count its operations by type; no file is published.

    RewriteError naming each operation without an integer form, with its layer and a hint; StageError if the network
    cannot take images of the dataset's shape.
    """
    target = learning.classifier(request)
    built = inference(target)
    hints = models.hints(target.network)
    check_network(built.graph, built.input, built.logits, hints, rewriting.options(request))
    types = Counter(operation.type for operation in built.graph.get_operations())
    return CheckFacts(dict(sorted(types.items())))
