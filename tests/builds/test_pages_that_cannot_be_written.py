"""A page that cannot be written is a failure, which names the page, until it is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qatbuild.engine.build import build
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import ArtifactError
from tests.builds.conftest import ToyProject
from tests.builds.test_rights import doit
from tests.builds.toolchain import ToyExecutor
from tests.unit.test_layer_table import row


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_page_that_cannot_be_written_is_a_failure_until_it_is(toy: ToyProject, options: tuple[str, ...]) -> None:
    toy.built()
    toy.built()
    folder, page = toy.root / "build", toy.root / "build/junit.xml"
    before = page.read_bytes()
    (toy.root / "report.json").write_text(json.dumps({"layers": [row("conv1", "CONV_2D")]}))
    toy.spec("net", evaluate={"min_top1": 3})
    folder.chmod(0o555)
    done = doit(toy, *options)
    assert done.returncode == 3, done.stdout
    assert "8 up to date" not in done.stdout
    assert "1 built, 7 up to date" in done.stdout  # The stage has succeeded.
    assert "build/report.html\n" not in done.stdout
    assert done.stderr.startswith("ERROR: A page of all models cannot be written.\n  file    ")
    assert "build/report.html\n" in done.stderr
    assert "build/junit.xml\n" not in done.stderr  # It has not changed.
    assert "hint: change its permissions" in done.stderr
    assert doit(toy, *options).returncode == 3  # It is not forgotten.
    page.chmod(0o644)
    page.write_text("forged")
    assert "build/junit.xml\n" in doit(toy, *options).stderr
    folder.chmod(0o755)
    done = doit(toy, *options)
    assert done.returncode == 0
    assert "build/report.html\nbuild/junit.xml\n8 up to date" in done.stdout
    assert page.read_bytes() == before
    assert doit(toy, *options).stdout.startswith("8 up to date")


def test_engine_raises_the_error_of_a_page_that_cannot_be_written(
    toy: ToyProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, _: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.chdir(toy.root)
    monkeypatch.setattr("qatbuild.report.pages.write_text", fail)
    with pytest.raises(ArtifactError) as refused:
        build(Project.prepared(toy.root), executor=ToyExecutor())
    names = [Path(value).name for label, value in refused.value.facts if label == "file"]
    assert names == ["report.html", "junit.xml"]
    monkeypatch.undo()
    monkeypatch.chdir(toy.root)
    toy.runs()
    assert build(Project.prepared(toy.root), executor=ToyExecutor()).ok
    assert toy.runs() == []
    assert (toy.root / "build/junit.xml").is_file()
