"""Trainings on pictures that stay encoded on the disk."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qatbuild.exchange.files import write_text
from qatbuild.worker.stages import dataset
from qatbuild.worker.stages import float as float_stage
from tests.training.project import Project
from tests.training.reading import CHECKPOINT_FILES

pytestmark = pytest.mark.tf

STEPS, EVERY, KILLED_AT = 9, 3, 4

PROGRAM = f"""
import os, signal, sys
from pathlib import Path
from qatbuild.worker import run
from qatbuild.worker.training import loop

taken = loop._Run._step

def step(self, number, *rest):
    if number == {KILLED_AT}:
        os.kill(os.getpid(), signal.SIGKILL)
    return taken(self, number, *rest)

loop._Run._step = step
run.run(Path(sys.argv[1]))
"""


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of 40 JPEG files of 48x40, to be decoded and cropped to 24x24 at each step."""
    monkeypatch.syspath_prepend(tmp_path)
    for number in range(50):
        small = np.random.default_rng(number).integers(0, 256, (4, 5, 3), np.uint8)
        file = tmp_path / "pictures" / ("train" if number < 40 else "test") / f"class-{number % 2}" / f"{number:03}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).resize((48, 40), Image.Resampling.BICUBIC).save(file, quality=80)
    project = Project(tmp_path, np.zeros((1, 8, 8, 1), np.uint8), np.zeros(1, np.int32), 0)
    project.settings["dataset"] = {"name": "images", "size": [24, 24], "validation": 0.2}
    train = {**project.settings["train"], "steps": STEPS, "checkpoint_every": EVERY, "batch_size": 16}
    project.settings |= {"train": train, "augment": {"pad_crop": 2, "flip_left_right": True}}
    made = project.run(dataset.run, data=tmp_path / "pictures")
    assert "train/images.encoded" in made.files
    return project


def test_a_training_on_pictures_that_was_killed_ends_in_the_same_bytes(
    pictures: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    killed = pictures.request("float", "dataset")
    write_text(killed.work / "request.json", killed.to_json())
    status = subprocess.run(
        [sys.executable, "-c", PROGRAM, killed.work / "request.json"], capture_output=True, check=False
    ).returncode
    assert status == -signal.SIGKILL
    resumed = pictures.run(float_stage.run, "dataset")
    assert f"goes on from step {EVERY}" in capfd.readouterr().out
    names = [f"model.ckpt-{step}{end}" for step in range(EVERY, STEPS + 1, EVERY) for end in CHECKPOINT_FILES]
    contents = {name: resumed.file(name).read_bytes() for name in names}
    (killed.work / "resume/state.json").unlink()
    whole = pictures.run(float_stage.run, "dataset")
    assert {name: whole.file(name).read_bytes() for name in names} == contents
    assert whole.facts == resumed.facts
