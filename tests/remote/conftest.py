"""Clones of one toy project that share a cache."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builds.conftest import ToyProject, toy_at


class Team:
    """A project and its clones, all with one cache."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = root / "cache"
        (root / "first").mkdir()
        self.first = toy_at(root / "first")
        self.use(self.cache)

    def use(self, cache: object, **more: Any) -> None:
        """Names the cache in the pyproject.toml of the project, from which clones are made."""
        lines = [f'cache = "{cache}"', *(f"{name} = {value!r}" for name, value in more.items())]
        (self.first.root / "pyproject.toml").write_text("\n".join(["[tool.qatbuild]", *lines, ""]))

    def clone(self, name: str = "clone") -> ToyProject:
        """A fresh clone: the files of the user, and nothing built."""
        shutil.copytree(self.first.root, self.root / name, ignore=shutil.ignore_patterns("build", "runs.txt", ".doit*"))
        return ToyProject(self.root / name)


@pytest.fixture
def team(tmp_path: Path) -> Team:
    """A team whose cache is a folder."""
    return Team(tmp_path)


def label_files(toy: ToyProject) -> dict[str, bytes]:
    """Every artifact and manifest in the folder of the label, by its name."""
    return {
        path.name: path.read_bytes()
        for path in (toy.root / "build/net").iterdir()
        if path.suffix in {".pb", ".tflite"} or path.name.endswith("manifest.json") or path.name == "report.json"
    }


def large_files(toy: ToyProject) -> list[str]:
    """The artifacts of datasets and checkpoints that are here."""
    return sorted(path.name for path in (toy.root / "build/shared").glob("*/*") if path.suffix in {".npy", ".index"})


__all__ = ["Iterator", "Team", "label_files", "large_files"]
