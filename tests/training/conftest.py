"""Small trainings on the UCI digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from qatbuild.exchange.networks import Shipped
from qatbuild.exchange.scaling import Scaling
from qatbuild.quantize import Options
from qatbuild.worker.training.batches import Augmentation, Batches
from qatbuild.worker.training.graph import training
from qatbuild.worker.training.loop import Course, train
from qatbuild.worker.training.optimizer import Optimizer
from qatbuild.worker.training.resume import Progress
from qatbuild.worker.training.schedule import Schedule
from tests.training.applications import classifier, columns, examples, rewrite
from tests.training.project import Project

NETWORK = classifier(Shipped("digitsnet"), (8, 8, 1), 10, Scaling(128.0, 64.0))
QUANTIZED = Options(mean=128, std_dev=64)


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [1797, 8, 8, 1] and int32 [1797], in random order."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    images = (data.images[order] * 255 / 16).round().astype(np.uint8)
    return images[..., None], data.target[order].astype(np.int32)


@pytest.fixture
def learn(digits: tuple[np.ndarray, np.ndarray]) -> Callable[..., Progress]:
    """Train DigitsNet below a folder: checkpoints in out, state in state; dropout and augmentation are on."""

    def run(
        folder: Path,
        *,
        steps: int = 12,
        every: int = 5,
        seed: int = 1,
        rate: float = 0.05,
        wrap: Callable[[Batches], Any] = lambda batches: batches,
        quantized: bool = False,
        optimizer: str = "momentum",
        precision: str = "float32",
        **more: Any,
    ) -> Progress:
        images, labels = digits
        asked = rewrite(QUANTIZED) if quantized else None
        graph = training(
            NETWORK, columns((8, 8, 1), 10), Optimizer(optimizer), weight_decay=1e-4, seed=seed, rewrite=asked
        )
        moving = Augmentation(1, flip_left_right=True, fills={"images": 128})
        rows = examples(images=images[:200], labels=labels[:200])
        batches = Batches(rows, NETWORK.columns, NETWORK.batch, 32, seed, moving)
        course = Course(steps, Schedule("cosine", rate, warm_up_steps=2), every, log_every=3, precision=precision)
        out, state = folder / "out", folder / "state"
        return train(graph, wrap(batches), course, title="test", threads=2, out=out, state=state, **more)

    return run


@pytest.fixture
def project(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with 260 training and 100 validation images; its modules can be imported, as in a worker."""
    monkeypatch.syspath_prepend(tmp_path)
    images, labels = digits
    return Project(tmp_path, images[:360], labels[:360], 100)
