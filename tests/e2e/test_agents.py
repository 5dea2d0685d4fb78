"""A client that knows nothing but docs/agents.md brings three networks under a byte budget, from data on.

Its commands and its first network are the page's, and it reads no field of an answer that the page does not name.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from qatbuild.schema.load import merge_patch
from tests.docs.pages import BLOCKS, DOCS
from tests.e2e.conftest import Project

pytestmark = pytest.mark.slow

PAGE = (DOCS / "agents.md").read_text()
COMMANDS = dict(re.findall(r"^\| ([a-z ]+?) \| `doit (.+?)` \|", PAGE, re.MULTILINE))
(NETWORK,) = (block for block in BLOCKS if block.page == "agents.md" and block.file)

OTHER_NETWORKS = """
import keras
import numpy as np


def dense(images, classes, *, training, units=512):
    x = keras.layers.Dense(units, activation="relu")(keras.layers.Flatten()(images))
    return keras.layers.Dense(classes)(keras.layers.Dense(units, activation="relu")(x))


def dead(shape, dtype=None):
    return np.eye(1, *shape)[0] * -100


def heavy(shape, dtype=None):
    values = np.random.default_rng(1).normal(0, 0.1, shape)
    values[..., 0, 0] = 900
    return values


def uneven(images, classes, *, training):
    x = keras.layers.Conv2D(8, 3, activation="relu", bias_initializer=dead)(images)
    x = keras.layers.Conv2D(17, 3, activation="relu", kernel_initializer=heavy)(x)[..., 1:]
    return keras.layers.Dense(classes)(keras.layers.Flatten()(x))
"""
"""One channel of `uneven` has far greater weights than the others, for which one scale leaves nothing."""

KIB = 1 << 10
SHARE = 0.6
LEAST_TOP1 = 80
STEPS = 150
ROUNDS = 4


class Case(NamedTuple):
    """A network, its data, and the option that sets its size with the value that it has, if there is one.

    A budget is fixed before anything is built: a device's flash, or with 0 a share (SHARE) of the network as it is.
    """

    network: str
    data: str
    flash_bytes: int
    option: str = ""
    size: int = 0


CASES = {
    "convolutions": Case("networks:convolutions", "digits.npz", 0, "filters", 16),
    "dense": Case("others:dense", "pictures", 64 * KIB, "units", 512),
    "uneven": Case("others:uneven", "digits.npz", 64 * KIB),
}
"""Of the first two a smaller one is needed, the third fits at once, and its gates refuse it."""


def said(field: str) -> str:
    """A field of an answer or a spec, which the page names."""
    assert f"`{field}`" in PAGE
    return field


class Client:
    """Follows the page in a project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.used: set[str] = set()

    def run(self, purpose: str, **values: str) -> subprocess.CompletedProcess[str]:
        """Runs the page's command for a purpose."""
        self.used.add(purpose)
        return self.project.doit(*(values.get(word, word) for word in shlex.split(COMMANDS[purpose])))

    def read(self, purpose: str, **values: str) -> Any:
        """Returns the JSON that a command prints."""
        return json.loads(self.run(purpose, **values).stdout)

    def under(self, name: str, case: Case) -> tuple[int, dict[str, Any]]:
        """Returns the budget in bytes, and the row of the best model under it, which is built as the spec itself."""
        begun = self.read("begin", SPEC=name, DATA=case.data, NETWORK=case.network, STEPS=str(STEPS))
        file, spec = Path(begun[said("spec")]), begun[said("document")]
        spec["evaluate"][said("min_top1")] = LEAST_TOP1
        matrix, sizes = f"{said('model.options')}.{case.option}", [case.size, case.size // 2]
        if case.option:
            spec[said("matrix")] = {matrix: sizes}
        rows = self.measured(name, file, spec)
        budget = case.flash_bytes or int(SHARE * rows[0][said("bytes")])
        for _ in range(ROUNDS):
            small = [row for row in rows if row[said("bytes")] is not None and row["bytes"] <= budget]
            if fitting := [row for row in small if all(gate[said("passed")] for gate in row[said("gates")])]:
                break
            if small:
                spec = self.changed(spec, max(small, key=top1)[said("label")])
            else:
                sizes.append(sizes[-1] // 2)
                spec["matrix"] = {matrix: sizes}
            rows = self.measured(name, file, spec)
        best = max(fitting, key=top1)
        if "matrix" in spec:
            del spec["matrix"]
            spec["model"]["options"] = {case.option: int(best["label"].removeprefix(f"{name}@{case.option}-"))}
            (best,) = self.measured(name, file, spec)
        return budget, best

    def measured(self, name: str, file: Path, spec: dict[str, Any]) -> list[dict[str, Any]]:
        """Writes a spec, validates and builds it; returns what was measured of each of its labels."""
        file.write_text(json.dumps(spec))
        assert self.read("validate", SPEC=name)[said("errors")] == {}
        done = self.run("build", SPEC=name)
        assert done.returncode in {0, 1, 2}, done.stdout + done.stderr
        return list(self.read("measure", SPEC=name)[said("labels")])

    def changed(self, spec: dict[str, Any], label: str) -> dict[str, Any]:
        """Returns the spec of a refused label with a change that passes, or with twice the training."""
        (result,) = self.read("search a change that passes the gates", LABEL=label)
        patch = result[said("patch")] if result[said("passed")] else None
        if patch is None or '"float": true' in json.dumps(patch):
            patch = {"train": {"steps": 2 * spec["train"]["steps"]}}
        return dict(merge_patch(spec, patch))


def top1(row: dict[str, Any]) -> float:
    return float(next(iter(row[said("metrics")].values()))[said("tflite")])


@pytest.fixture
def client(project: Project) -> Client:
    """A client in a project with data and networks, and without a spec."""
    digits = load_digits()
    images, labels = np.round(digits.images * 15).astype(np.uint8), digits.target
    splits = {"train": slice(1400), "test": slice(1400, None)}
    arrays = {"images": images, "labels": labels}
    named = {f"{split}_{name}": each[rows] for split, rows in splits.items() for name, each in arrays.items()}
    np.savez(project.root / "digits.npz", **named)
    for number in range(300):
        folder = project.root / "pictures" / str(labels[number])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[number]).save(folder / f"{number}.png")
    (project.root / NETWORK.file).write_text(NETWORK.text)
    (project.root / "others.py").write_text(OTHER_NETWORKS)
    return Client(project)


def test_a_client_that_knows_only_the_page_brings_three_networks_under_a_byte_budget(client: Client) -> None:
    for name, case in CASES.items():
        budget, row = client.under(name, case)
        file = client.project.root / "build" / name / "model.tflite"
        assert file.stat().st_size == row["bytes"] <= budget
        assert all(gate["passed"] for gate in row["gates"])
        assert top1(row) >= LEAST_TOP1
    assert client.read("see what is stale or failed", SPEC="dense")[said("labels")][0][said("state")] == "up to date"
    assert client.read("see what would run", SPEC="dense")[said("counts")].keys() == {said("current")}
    assert client.read("learn a section of a spec", SECTION="quantize")["quantize"]["properties"]
    assert client.read("find the layer that hurts", LABEL="dense").keys() == {"dense"}
    assert client.used == COMMANDS.keys()
