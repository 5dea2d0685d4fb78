"""A network through every stage that makes a .tflite of it, on random images and with next to no training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.facts import Checkpoints, FloatFacts
from qatbuild.exchange.manifest import Manifest
from qatbuild.worker.stages import check, convert, export, freeze, learning, quantize
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.inference import inference
from tests.training.project import Project

v1 = tf.compat.v1

PTQ = {"method": "ptq", "calibration": {"images": 16, "range": "min_max", "percentile": 99.99}}
QAT = {"method": "qat", "steps": 2, "checkpoint_every": 2}


def project(root: Path, shape: tuple[int, int, int], model: Mapping[str, Any]) -> Project:
    """A project with 16 random images of this shape, in 10 classes, and the setting "model"."""
    random = np.random.default_rng(1)
    images, labels = random.integers(0, 256, [16, *shape], np.uint8), random.integers(0, 10, 16).astype(np.int32)
    made = Project(root, images, labels, validation=0)
    made.settings["model"] = {"options": {}, **model}
    made.settings["train"] = {**made.settings["train"], "batch_size": 8}
    made.settings["augment"] = {"pad_crop": 0, "flip_left_right": False}
    return made


def initialized(project: Project) -> None:
    """Publish random initial weights in place of the stage `float`: a training graph takes longer than all the rest."""
    request = project.request("float", "dataset")
    graph = inference(learning.application(request)).graph
    with graph.as_default(), v1.Session() as session:
        session.run(v1.global_variables_initializer())
        values = {each.op.name: session.run(each) for each in v1.global_variables()}
    checkpoint.write({**values, "global_step": np.array(0, np.int64)}, checkpoint.prefix(request.out, 0))
    project.publish("float", request.out, FloatFacts(Checkpoints((0,), 0, None, "", {}), from_weights=False).to_json())


def check_network(project: Project, **asked: Any) -> None:
    """Set "quantize" and run the check, which raises if it refuses the network."""
    project.settings["quantize"] = {**project.settings["quantize"], "mode": "integer", **asked}
    project.run(check.run, "dataset")


def converted(project: Project) -> Manifest:
    """Run the stages behind the check; return the manifest of convert, whose gates passed."""
    initialized(project)
    project.run(quantize.run, "dataset", "check", "float")
    project.run(export.run, "dataset", "check")
    project.run(freeze.run, "export", "quantize", "float")
    made = project.run(convert.run, "export", "freeze")
    assert all(gate["passed"] for gate in made.facts["gates"])
    return made
