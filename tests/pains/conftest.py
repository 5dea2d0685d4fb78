"""One project for all: a network with what people complain about, built by real doit in three variants."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.manifest import Manifest
from qatbuild.worker.training import checkpoint
from tests.e2e.conftest import Project, new_project
from tests.pains import networks
from tests.tflite.conftest import images, network  # noqa: F401  fixtures of small frozen graphs

PIXELS = {"mean": 127.5, "std_dev": 127.5}
TRAIN = {"steps": 100, "batch_size": 64, "learning_rate": {"initial": 0.01}, "optimizer": {"name": "adam"}}
VARIANTS: dict[str, Any] = {
    "qat": {"quantize": {"learning_rate": {"initial": 0.002}}},
    "hurried": {"quantize": {"start": "scratch", "quant_delay": 1}},
    "narrow": {
        "quantize": {
            "method": "ptq",
            "scheme": "int8_per_channel",
            "overrides": [{"layer": "stem", "range": [0, 0.1]}],
        },
        "evaluate": {"max_accuracy_drop": 5},
    },
}


@dataclass
class Built:
    """A build that has ended: its project, and all that it printed."""

    project: Project
    printed: str

    def file(self, label: str, name: str) -> Path:
        """A file of a label's folder. AssertionError with all that the build said, if it did not make the file."""
        file = self.project.root / "build" / label / name
        assert file.exists(), self.printed
        return file

    def refusal(self, stage: str) -> str:
        """The block of lines with which the build refused LABEL:STAGE."""
        head, _, rest = self.printed.partition(f"{stage} FAILED")
        assert rest, head
        return rest.split("\n\n")[0]

    def report(self, label: str) -> dict[str, Any]:
        """The report of a label."""
        return dict(json.loads(self.file(label, "report.json").read_text()))

    def stage(self, label: str, stage: str) -> Manifest:
        """The manifest of a stage that the freeze of a label reads: float, quantize, export."""
        path, _ = json.loads(self.file(label, "freeze.request.json").read_text())["inputs"][stage]
        return Manifest.read(Path(path))

    def variables(self, label: str, stage: str) -> dict[str, np.ndarray]:
        """The last checkpoint of a training."""
        made = self.stage(label, stage)
        return variables(checkpoint.prefix(made.folder, made.facts["last"]))


def variables(prefix: Path) -> dict[str, np.ndarray]:
    """The values of a checkpoint by name."""
    import tensorflow as tf  # noqa: PLC0415  Files that only read specs do not need it.

    reader = tf.train.load_checkpoint(str(prefix))
    return {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}


def spec(project: Project, name: str, function: str, **fields: Any) -> None:
    """Write specs/NAME.json for a network of the module networks."""
    project.spec(name, input=PIXELS, model={"call": f"networks:{function}"}, **fields)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the networks; each test writes specs of its own."""
    made = new_project(tmp_path_factory.mktemp("pains") / "project")
    shutil.copy(str(networks.__file__), made.root)
    return made


@pytest.fixture(scope="session")
def built(project: Project) -> Built:
    """The usual network, built in three variants, the last of which its gates refuse. Tests may look, not touch."""
    gates = {"max_accuracy_drop": 100, "latency_runs": 1}
    spec(project, "usual", "usual", train=TRAIN, quantize={}, evaluate=gates, variants=VARIANTS)
    done = project.doit("--continue", "usual")
    return Built(project, done.stdout + done.stderr)


@pytest.fixture(scope="session")
def refused(project: Project) -> Mapping[str, str]:
    """What `doit check` says of networks that cannot become integer, by the name of their spec; all in one command.

    Of a network that it does not refuse, all that it said: only that network's test fails then.
    """
    for name in ("batch_statistics", "without_layers", "fake_quantized", "of_keras_2"):
        spec(project, name, name, train=TRAIN, quantize={})
    networks.of_pytorch(str(project.root / "stablehlo"))
    project.spec("stablehlo", model={"saved_model": "../stablehlo"}, quantize={"method": "ptq"}, train=TRAIN)
    names = ["batch_statistics", "without_layers", "fake_quantized", "of_keras_2", "stablehlo"]
    done = project.doit("--continue", *(f"{name}:check" for name in names))
    blocks = re.findall(r"^(\w+):check.* FAILED\n((?:   .*\n)+)", done.stdout, re.MULTILINE)
    return dict.fromkeys(names, done.stdout + done.stderr) | dict(blocks)
