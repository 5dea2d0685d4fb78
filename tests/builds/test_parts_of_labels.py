"""Names of parts, LABEL:STAGE, are tasks wherever something may name them, though a plain build makes fewer tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.project import Everything, Project
from tests.builds.conftest import DODO, ToyProject

FLASH = """
def task_flash():
    return {"actions": ["echo flashed"], "task_dep": ["net:float"]}
"""


def test_another_task_of_the_dodo_file_depends_on_a_stage(toy: ToyProject) -> None:
    (toy.root / "dodo.py").write_text(DODO + FLASH)
    done = toy.doit("flash")
    assert done.returncode == 0, done.stderr
    assert "flashed" in done.stdout
    assert toy.runs() == ["dataset", "check", "float"]


def test_the_dodo_file_replaces_the_default_with_a_stage(toy: ToyProject) -> None:
    (toy.root / "dodo.py").write_text(f"{DODO}\nDOIT_CONFIG['default_tasks'] = ['net:float']\n")
    assert toy.built() == ["dataset", "check", "float"]
    assert toy.built() == []


def test_deploy_of_a_spec_is_that_of_all_its_variants(toy: ToyProject) -> None:
    toy.spec("net", variants={"a": {}, "b": {"train": {"seed": 9}}}, deploy={"litert": {}})
    assert toy.built("net:deploy").count("deploy.litert") == 2


def test_default_that_no_longer_exists_is_an_error_of_list_too(toy: ToyProject) -> None:
    (toy.root / "pyproject.toml").write_text('[tool.qatbuild]\ndefault = ["net@a"]\nstore = false\n')
    toy.spec("net", variants={"a": {}, "b": {"train": {"seed": 9}}})
    toy.built("net")
    toy.spec("net", variants={"b": {"train": {"seed": 9}}})
    done = toy.doit("list")
    assert done.returncode == 3
    assert 'The default "net@a"' in done.stderr


def test_relative_root_makes_the_same_recipes(toy: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy.root)
    absolute, relative = (LoadedProject.load(Project.at(root), Everything()) for root in (toy.root, Path()))
    assert list(relative.plan.stages) == list(absolute.plan.stages)
