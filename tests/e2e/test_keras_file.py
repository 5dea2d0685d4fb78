"""A Keras file in a spec, built by real doit: its weights are the float model's, and an edit of it is seen."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.e2e.conftest import Project

pytestmark = pytest.mark.slow

SAVE = """
import keras
from keras import layers
keras.utils.set_random_seed({seed})
keras.Sequential([
    keras.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(), layers.Flatten(),
    layers.Dense(10, activation="softmax"),
], name="mine").save("specs/mine.keras")
"""


def save(project: Project, seed: int) -> None:
    subprocess.run([sys.executable, "-c", SAVE.format(seed=seed)], cwd=project.root, check=True, capture_output=True)


def test_a_file_needs_no_train_and_an_edit_of_it_is_seen_by_the_stages_that_read_it(project: Project) -> None:
    save(project, 1)
    quantize = {"steps": 5, "learning_rate": {"initial": 0.01}}
    project.spec("mine", model={"keras": "mine.keras"}, quantize=quantize, train=None)
    assert "8 built" in project.build("mine")
    assert project.report("mine")["output"]["dtype"] == "uint8"
    save(project, 2)
    explained = project.build("explain", "mine")
    blocks = re.findall(r"^mine:(\w+)  \w.*\n((?:\W.*\n)*)", explained, re.MULTILINE)
    reading = [stage for stage, reasons in blocks if "mine.keras changed" in reasons]
    assert reading == ["check", "float", "quantize", "export"], explained
