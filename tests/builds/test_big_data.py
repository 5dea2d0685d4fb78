"""A dataset of many variants is read once: hashed when it is new, and once more after a touch."""

from __future__ import annotations

from pathlib import Path

import pytest
from doit.cmd_base import NamespaceTaskLoader
from doit.doit_cmd import DoitMain

from qatbuild.engine import digests, file_cache
from qatbuild.exchange.files import file_sha256
from qatbuild.plugin import door
from tests.builds.conftest import ToyProject
from tests.builds.toolchain import ToyExecutor

VARIANTS = 8


class Loader(NamespaceTaskLoader):
    """A dodo.py without a file."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def setup(self, _: object) -> None:
        config, task_specs = door(str(self.root / "dodo.py"), ToyExecutor())
        self.namespace = {"DOIT_CONFIG": config, "task_specs": task_specs}


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read to be hashed."""
    names: list[str] = []
    real = file_sha256

    def counting(path: Path) -> str:
        names.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(digests, "file_sha256", counting)
    monkeypatch.setattr(file_cache, "is_settled", lambda *_: True)  # What was written a moment ago is old enough here.
    return names


@pytest.mark.parametrize("options", [[], ["-n", "2"]])
def test_data_shared_by_many_variants_is_hashed_once_also_after_a_touch(
    toy: ToyProject, hashed: list[str], options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toy.root)
    for number in range(VARIANTS):
        toy.spec(f"v{number}", train={"steps": 100, "seed": number + 10, "learning_rate": {"initial": 0.1}})

    def hashings() -> int:
        assert DoitMain(Loader(toy.root)).run(["run", *options]) == 0
        count = hashed.count("data.bin")
        hashed.clear()
        return count

    assert hashings() == 1
    assert toy.runs().count("float") == VARIANTS + 1
    assert hashings() == 0
    (toy.root / "specs/data.bin").touch()
    assert hashings() == 1
    assert hashings() == 0
    assert toy.runs() == []
