"""Two trainings at once against one after the other: `doit -n 2` and `doit` of a spec with two seeds, by turns.

The spec is the shipped specs/cifarnet.json on random images of CIFAR-10's form and number, for a few steps. The dataset
and the check of the network are built before the clock runs; what it sees is doit, the import of TensorFlow, and the
two `float` stages.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.measure import Cost, cost
from tests.benchmarks.training.batch import batch
from tests.benchmarks.training.sides import ROOT

WAYS = {"one after the other": [], "side by side": ["-n", "2"]}
_TEST_IMAGES = 100


def compare(folder: Path, *, steps: int, pairs: int, threads: int, images: int) -> dict[str, Any]:
    """The costs of both ways, measured `pairs` times in turns, each in a build folder of its own."""
    project(folder, steps=steps, threads=threads, images=images)
    costs: dict[str, list[Cost]] = {way: [] for way in WAYS}
    for turn in range(pairs):
        for way in list(WAYS) if turn % 2 == 0 else reversed(WAYS):
            shutil.rmtree(folder / "build", ignore_errors=True)
            _doit(folder, ["two:check"])
            costs[way].append(_doit(folder, [*WAYS[way], "two:float"]))
    return {"steps": steps, "images": images, "ways": {way: [asdict(each) for each in costs[way]] for way in WAYS}}


def project(folder: Path, *, steps: int, threads: int, images: int) -> None:
    """A project in a new folder with its data and one spec, specs/two.json: the shipped CifarNet with two seeds."""
    (folder / "specs").mkdir(parents=True)
    shutil.copy(ROOT / "dodo.py", folder)
    shutil.copy(ROOT / "specs/cifarnet.json", folder / "specs/_cifarnet.json")
    (folder / "pyproject.toml").write_text(f"[tool.qatbuild]\nstore = false\nthreads = {threads}\n")
    pixels, labels = batch(images + _TEST_IMAGES)
    splits = {"train": slice(images), "test": slice(images, None)}
    arrays: dict[str, Any] = {f"{name}_images": pixels[part] for name, part in splits.items()}
    arrays |= {f"{name}_labels": labels[part] for name, part in splits.items()}
    np.savez(folder / "specs/random.npz", **arrays)
    spec = {
        "extends": "_cifarnet.json",
        "dataset": {"name": "npz", "path": "random.npz"},
        "train": {"steps": steps, "checkpoint_every": steps, "learning_rate": {"initial": 0.001, "warm_up_steps": 0}},
        "variants": None,
        "matrix": {"train.seed": [1, 2]},
    }
    (folder / "specs/two.json").write_text(json.dumps(spec))


def _doit(folder: Path, arguments: list[str]) -> Cost:
    command = [sys.executable, "-m", "doit", *arguments]
    return cost(command, folder, {"PYTHONPATH": str(ROOT)}, limit_seconds=3600)
