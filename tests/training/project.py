"""A project on the UCI digits, and requests for the stages that train, export and freeze."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.exchange.facts import StageFacts
from qatbuild.exchange.files import write_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Input, Request, Source

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

DATASET = {"shape": [8, 8, 1], "classes": 10, "class_names": [str(digit) for digit in range(10)], "counts": {}}
DATASET |= {"class_counts": {}, "mean": [78.0], "std": [96.0], "mean_all": 78.0, "std_all": 96.0, "notes": []}


class Project:
    """A project folder with the digits as its dataset, whose stages are run one after the other."""

    def __init__(self, root: Path, images: np.ndarray, labels: np.ndarray, validation: int) -> None:
        self.root = root
        self.settings: dict[str, Any] = {
            "input": {"mean": 128.0, "std_dev": 64.0},
            "augment": {"pad_crop": 1, "flip_left_right": False},
            "model": {"name": "digitsnet", "options": {}},
            "train": TRAIN,
            "quantize": {**QUANTIZE, "learning_rate": {**RATE, "initial": 0.005}},
            "convert": {"checkpoint": "last"},
        }
        folder = root / "dataset"
        folder.mkdir(parents=True)
        train = slice(0, len(images) - validation)
        held_out = slice(len(images) - validation, None)
        arrays: dict[str, Any] = {"train_images": images[train], "train_labels": labels[train]}
        arrays |= {"validation_images": images[held_out], "validation_labels": labels[held_out]}
        np.savez(folder / "dataset.npz", **arrays)
        self.publish("dataset", folder, DATASET | {"shape": list(images.shape[1:])})

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
        """Run a stage and publish its manifest."""
        name = stage.__module__.rpartition(".")[2]
        request = self.request(name, *inputs, sources=sources)
        return self.publish(name, request.out, stage(request).to_json())
