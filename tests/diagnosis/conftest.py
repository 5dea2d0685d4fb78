"""A project with the broken networks, built once for all tests of this folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.diagnosis.networks import BROKEN, SPEC
from tests.e2e.conftest import Project, new_project

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The twelve broken networks and the sound one, built; the gates refuse the twelve."""
    project = new_project(tmp_path_factory.mktemp("diagnosis") / "project")
    for source in (HERE / "project").glob("[a-z]*.py"):
        shutil.copy(source, project.root)
    fields = {"sound": {}, **{name: each.fields for name, each in BROKEN.items()}}
    for name, each in fields.items():
        (project.root / "specs" / f"{name}.json").write_text(json.dumps({**SPEC, **each}))
    project.doit("-c")
    return project
