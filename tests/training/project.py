"""A project of arrays, such as the UCI digits, and requests for the stages that train, export and freeze."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.dataset_facts import Column, DatasetFacts
from qatbuild.exchange.facts import StageFacts
from qatbuild.exchange.files import write_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Input, Request, Source
from qatbuild.worker.stages import check

RATE = {"schedule": "constant", "initial": 0.05, "final": 0.0, "decay_steps": None, "decay_rate": None}
RATE |= {"boundaries": [], "values": [], "warm_up_steps": 0}
TRAIN = {
    "steps": 40,
    "batch_size": 32,
    "optimizer": {"name": "momentum", "momentum": 0.9, "nesterov": True, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "learning_rate": RATE,
    "weight_decay": 1e-4,
    "seed": 1,
    "precision": "float32",
    "checkpoint_every": 20,
    "log_every": 10,
}
QUANTIZE = {"mode": "tf1", "method": "qat", "scheme": "uint8", "start": "float", "steps": 6, "quant_delay": 0}
QUANTIZE |= {"freeze_bn_delay": None, "checkpoint_every": 3, "overrides": []}

DIGITS = tuple(map(str, range(10)))

Splits = Mapping[str, Mapping[str, NDArray[Any]]]
"""Arrays [n, *shape] by split and column."""


def held_out(images: NDArray[Any], labels: NDArray[Any], validation: int) -> Splits:
    """Images and classes, the last `validation` of them for validation; there are no test examples."""
    count = len(images) - validation
    return {
        "train": {"images": images[:count], "labels": labels[:count]},
        "validation": {"images": images[count:], "labels": labels[count:]},
        "test": {"images": images[:0], "labels": labels[:0]},
    }


def write_columns(folder: Path, splits: Splits, class_names: Mapping[str, tuple[str, ...]]) -> DatasetFacts:
    """Write the files of a dataset as its stage does."""
    for split, arrays in splits.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for name, each in arrays.items():
            np.save(folder / split / f"{name}.npy", each)
    columns = {
        name: Column(str(each.dtype), each.shape[1:], class_names.get(name, ()))
        for name, each in splits["train"].items()
    }
    counts = {split: len(next(iter(arrays.values()))) for split, arrays in splits.items()}
    class_counts = {
        name: {split: np.bincount(arrays[name], minlength=len(names)).tolist() for split, arrays in splits.items()}
        for name, names in class_names.items()
    }
    return DatasetFacts(columns, counts, class_counts, ())


class Project:
    """A project folder with a dataset, by default of images in ten classes, whose stages run one after the other."""

    def __init__(self, root: Path, images: NDArray[Any], labels: NDArray[Any], validation: int) -> None:
        self.root = root
        self.settings: dict[str, Any] = {
            "inputs": {"images": {"mean": 128.0, "std_dev": 64.0}},
            "outputs": {"labels": {"task": "classification"}},
            "augment": {"pad_crop": 1, "flip_left_right": False},
            "model": {"name": "digitsnet", "options": {}},
            "train": TRAIN,
            "quantize": {**QUANTIZE, "learning_rate": {**RATE, "initial": 0.005}},
            "convert": {"checkpoint": "last"},
        }
        self.dataset(held_out(images, labels, validation), {"labels": DIGITS})

    def dataset(self, splits: Splits, class_names: Mapping[str, tuple[str, ...]]) -> Manifest:
        """Publish a dataset of these arrays in place of the one before."""
        folder = self.root / "dataset"
        shutil.rmtree(folder, ignore_errors=True)
        return self.publish("dataset", folder, write_columns(folder, splits, class_names).to_json())

    def publish(self, stage: str, folder: Path, facts: Mapping[str, Any]) -> Manifest:
        """Write the stage's manifest; the files stay where they are."""
        manifest = Manifest.of(stage, folder, facts)
        write_text(self.root / f"{stage}.path", str(Manifest.path_of(folder, stage)))
        write_text(Manifest.path_of(folder, stage), manifest.to_json())
        return manifest

    def request(self, stage: str, *inputs: str, sources: Mapping[str, Path] | None = None) -> Request:
        """A request for a stage, with the settings as they are now."""
        paths = {name: Path((self.root / f"{name}.path").read_text()) for name in inputs}
        work = self.root / "work" / stage
        inputs_by_role = {name: Input(path, "") for name, path in paths.items()}
        sources_by_role = {role: Source(path, "") for role, path in (sources or {}).items()}
        request = Request(
            stage,
            self.settings,
            inputs_by_role,
            sources_by_role,
            {},
            "",
            2,
            self.root,
            self.root / "downloads",
            self.root,
            work,
        )
        request.out.mkdir(parents=True, exist_ok=True)
        return request

    def run(self, stage: Callable[[Request], StageFacts], *inputs: str, **sources: Path) -> Manifest:
        """Run a stage and publish its manifest; an input "check" is the check of the settings as they are now."""
        if "check" in inputs:
            self.run(check.run, "dataset", **sources)
        name = stage.__module__.rpartition(".")[2]
        request = self.request(name, *inputs, sources=sources)
        return self.publish(name, request.out, stage(request).to_json())
