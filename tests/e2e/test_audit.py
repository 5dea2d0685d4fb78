"""`doit check --audit`: files that a network reads and its spec does not name."""

from __future__ import annotations

import json

import numpy as np

from tests.e2e.conftest import Project
from tests.e2e.test_stories import ran
from tests.hints import follows

NETWORK = """
import importlib
import json
from pathlib import Path

import numpy as np
from qatbuild.worker.models.digitsnet import digitsnet

HERE = Path(__file__).parent


def build(images, classes, *, training):
    json.loads((HERE / "layers.json").read_text())
    np.load(HERE / "tables/scale.npy")
    importlib.import_module("hid" + "den")
    return digitsnet(images, classes, training=training)
"""


def test_files_that_a_network_reads_are_found_until_they_are_declared(project: Project) -> None:
    (project.root / "nets.py").write_text(NETWORK)
    (project.root / "hidden.py").write_text("")
    (project.root / "layers.json").write_text("{}")
    (project.root / "tables").mkdir()
    np.save(project.root / "tables/scale.npy", np.zeros(2))
    project.spec("net", model={"call": "nets:build"})
    project.build("net:check")
    done = project.doit("check", "--audit", "net:check")
    assert done.returncode == 1
    for name in ("hidden.py", "layers.json", "tables/scale.npy"):
        assert f"reads  {name}\n" in done.stdout
    assert follows("list the file in model.files, so that its changes rebuild") in done.stdout
    assert "nets.py" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr

    files = ["../layers.json", "../tables", "../hidden.py"]
    project.spec("net", model={"call": "nets:build", "files": files})
    assert "check" in ran(project.build("net:check"))
    done = project.doit("check", "--audit", "net:check", "--json")
    assert done.returncode == 0
    assert [stage["files"] for stage in json.loads(done.stdout)["stages"]] == [[], []]

    (project.root / "layers.json").write_text('{"width": 3}')
    assert "layers.json changed" in project.build("net:check")
