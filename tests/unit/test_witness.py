"""Files of the project that a process opens are recorded, except those of the build folder."""

from __future__ import annotations

import json
import py_compile
from pathlib import Path

import numpy as np
import pytest

from qatbuild.worker.opened_files import inside, watching


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("side.json", "build/a.txt", "data/b.txt", ".venv/lib/site-packages/c.py", "nets.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    np.save(tmp_path / "table.npy", np.zeros(2))
    return tmp_path


def test_reads_are_seen_however_they_are_made(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with watching() as seen:
        json.loads(Path("side.json").read_text())
        np.load(project / "table.npy")
        with open(b"data/b.txt", "rb"):  # noqa: PTH123  As a network's code may.
            pass
    assert inside(seen, project, project / "build") == ["data/b.txt", "side.json", "table.npy"]


def test_files_written_built_installed_or_outside_are_no_inputs(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "x"
    with watching() as seen:
        other.write_text("")
        (project / "log.txt").write_text("")
        for path in ("build/a.txt", ".venv/lib/site-packages/c.py"):
            (project / path).read_text()
        other.read_text()
    (project / "gone").unlink(missing_ok=True)
    assert inside(seen, project, project / "build") == []


def test_a_compiled_module_counts_as_its_source(project: Path) -> None:
    compiled = Path(str(py_compile.compile(str(project / "nets.py"))))
    with watching() as seen:
        compiled.read_bytes()
    assert inside(seen, project, project / "build") == ["nets.py"]


def test_files_opened_after_the_watch_are_not_recorded(project: Path) -> None:
    with watching() as seen:
        pass
    (project / "side.json").read_text()
    assert seen == set()


def test_files_below_a_declared_folder_are_not_collected(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("pictures/a.png", "pictures.csv"):
        (tmp_path / name).write_text("")
    with watching([tmp_path / "pictures"]) as seen:
        (tmp_path / "pictures" / "a.png").read_text()
        (tmp_path / "pictures.csv").read_text()
    assert inside(seen, tmp_path, tmp_path / "build") == ["pictures.csv"]
