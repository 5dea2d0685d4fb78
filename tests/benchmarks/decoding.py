"""What decoding costs: pictures a second by all cores alone, and steps a second with decoding and from arrays.

    python -m tests.benchmarks.decoding DATASET NETWORK STEPS

DATASET is the folder of a dataset stage, NETWORK a function such as own_network:network, called as a training calls it.
The arrays are a few decoded pictures, of which every batch is made. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from qatbuild.exchange import networks
from qatbuild.exchange.dataset_facts import DatasetFacts
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker.datasets.examples import Examples, opened
from qatbuild.worker.training.application import Application
from qatbuild.worker.training.batches import Batches
from qatbuild.worker.training.graph import Training, training
from qatbuild.worker.training.optimizer import Optimizer
from qatbuild.worker.training.prefetch import Prefetch
from qatbuild.worker.training.session import session
from tests.training import applications

_BATCH = 32
_ARRAYS = 512
_DECODED_AT_ONCE = 256
_SECONDS = 5
_WARM_STEPS = 5
_ROUNDS = 3


def main(arguments: list[str]) -> int:
    """Measure and print."""
    folder, network, steps = Path(arguments[0]), arguments[1], int(arguments[2])
    sys.path.insert(0, "")
    manifest = json.loads((folder / "dataset.manifest.json").read_text(encoding="utf-8"))
    facts = DatasetFacts.of(manifest["facts"])
    examples = opened(folder, "train", facts)
    decoded = _pictures_per_second(examples)
    arrays = applications.examples(**examples.read(examples.spread(_ARRAYS)))
    images = facts.columns["images"]
    classes = len(facts.columns["labels"].class_names)
    target = applications.classifier(networks.read({"call": network}), images.shape, classes, Scaling(128, 64))
    graph = training(
        target, facts.columns, Optimizer("momentum", 0.9, nesterov=True), weight_decay=0.0, seed=1, rewrite=None
    )
    sources = {"arrays": arrays, "pictures": examples}
    rounds = [{name: _rate(graph, target, each, steps) for name, each in sources.items()} for _ in range(_ROUNDS)]
    rates = {name: statistics.median(each[name] for each in rounds) for name in sources}
    print(json.dumps({"pictures_per_second": decoded, "steps_per_second": rates}))  # noqa: T201
    return 0


def _pictures_per_second(examples: Examples) -> float:
    """Decode pictures in any order on all cores for a while."""
    random, count = np.random.default_rng(0), 0
    begun = time.perf_counter()
    while time.perf_counter() - begun < _SECONDS:
        examples.read(random.integers(0, len(examples), _DECODED_AT_ONCE), ("images",))
        count += _DECODED_AT_ONCE
    return round(count / (time.perf_counter() - begun), 1)


def _rate(graph: Training, target: Application, examples: Examples, steps: int) -> float:
    """Train from the beginning as the loop does; return steps a second after the first few."""
    batches = Batches(examples, target.columns, target.batch, _BATCH, seed=1)
    with session(graph.graph, os.cpu_count() or 1) as opened, graph.graph.as_default():
        opened.run(tf.compat.v1.global_variables_initializer())
        begun = time.perf_counter()
        with Prefetch(batches, 0, _WARM_STEPS + steps) as made:
            for step, batch in made:
                if step == _WARM_STEPS:
                    begun = time.perf_counter()
                opened.run([graph.loss, graph.step], graph.feed(batch, 0.01))
        return round(steps / (time.perf_counter() - begun), 3)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
