"""qatbuild's side: the step of a training stage, of the training room's own graph and session.

    python -m tests.benchmarks.training.step NETWORK PRECISION STEP       STEP: float, quantized, frozen

The quantized graph is that of the mode "integer", uint8. Batch norms are before their freeze in "quantized", whose
delay never ends, and after it in "frozen", whose delay is 0: the graph is the same.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qatbuild.exchange.networks import Shipped
from qatbuild.exchange.scaling import Scaling
from qatbuild.quantize import Options
from qatbuild.worker.training.graph import training
from qatbuild.worker.training.optimizer import Optimizer
from qatbuild.worker.training.precision import available
from qatbuild.worker.training.session import session
from tests.benchmarks.training.batch import CLASSES, MEAN, SHAPE, STD_DEV, batch
from tests.benchmarks.training.pipe import serve
from tests.training import applications

_NEVER_STEPS = 1_000_000_000


def prepare(network: str, precision: str, step: str) -> tuple[dict[str, Any], Callable[[int], list[float]]]:
    """Build the graph, open the session; a step is what the training loop runs, and what it feeds and fetches."""
    precision = available(precision)
    freeze_steps = 0 if step == "frozen" else _NEVER_STEPS
    options = Options(mean=MEAN, std_dev=STD_DEV, freeze_bn_delay_steps=freeze_steps)
    rewrite = None if step == "float" else applications.rewrite(options)
    target = applications.classifier(Shipped(network), SHAPE, CLASSES, Scaling(MEAN, STD_DEV))
    optimizer = Optimizer("momentum", 0.9, nesterov=True)
    columns = applications.columns(SHAPE, CLASSES)
    built = training(target, columns, optimizer, weight_decay=0.001, seed=1, rewrite=rewrite)
    opened = session(built.graph, int(os.environ["QATBUILD_THREADS"]), precision)
    with built.graph.as_default():
        opened.run(tf.compat.v1.global_variables_initializer())
    feed = built.feed(applications.batch(*batch()), 0.01)

    def steps(count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            begun = time.perf_counter()
            opened.run([built.loss, built.step], feed)
            seconds.append(time.perf_counter() - begun)
        return seconds

    return {"precision": precision, "versions": {"tensorflow": tf.__version__}}, steps


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]))
