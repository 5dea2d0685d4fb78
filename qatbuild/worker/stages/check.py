"""The check stage: whether a network can become fully integer, before any training.

A stage of its own, so that a change of the check does not make a training stale.
"""

from __future__ import annotations

from collections import Counter

from qatbuild.exchange.facts import CheckFacts
from qatbuild.exchange.request import Request
from qatbuild.worker import models
from qatbuild.worker.stages import learning, rewriting, warnings
from qatbuild.worker.training.batch_size import check_batch_size
from qatbuild.worker.training.inference import inference


def run(request: Request) -> CheckFacts:
    """Checks the network and counts its operations by type; publishes its graph, which ptq and export rewrite.

    RewriteError naming each operation without an integer form, with its layer and a hint; StageError if the network
    cannot take inputs of the dataset's shapes, or what it returns does not fit a task or the batch.
    """
    target = learning.application(request)
    built = inference(target)
    check_batch_size(built, target.network.title)
    (request.out / rewriting.NETWORK).write_bytes(built.serialized())
    hints = models.hints(target.network)
    rewriting.quantizer(request).check(built.graph, built.inputs, built.tensors, hints)
    warnings.tell(request, (note for task in target.tasks.values() for note in task.notes))
    types = Counter(operation.type for operation in built.graph.get_operations())
    return CheckFacts(dict(sorted(types.items())), built.inputs, built.tensors, built.outputs)
