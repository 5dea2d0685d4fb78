"""Specs that cannot be found are an error, never a success that says nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from qatbuild.engine.fast_path import FastPath
from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.project import Everything, Project
from qatbuild.exchange.errors import SpecError
from tests.builds.conftest import REPOSITORY, ToyProject
from tests.hints import follows
from tests.page.reading import shown


def gone(specs: Path) -> None:
    specs.rename(specs.with_name("elsewhere"))


def emptied(specs: Path) -> None:
    gone(specs)
    specs.mkdir()


def a_dangling_link(specs: Path) -> None:
    gone(specs)
    specs.symlink_to("nowhere")


def a_file(specs: Path) -> None:
    gone(specs)
    specs.write_text("{}")


def without_specs(specs: Path) -> None:
    (specs / "net.json").rename(specs / "_net.json")


def test_missing_or_empty_specs_folder_is_an_error_for_every_command(toy: ToyProject) -> None:
    toy.built()
    toy.built()
    specs = toy.root / "specs"
    kept = shutil.copytree(specs, toy.root / "kept")
    for how in (gone, emptied, a_dangling_link, a_file, without_specs):
        how(specs)
        # Every command but a build loads all specs, whatever happened to the folder.
        others = (("net",), ("list",), ("check",), ("plan",), ("affected", "--since", "HEAD"))
        for arguments in ((), *(others if how is gone else ())):
            done = toy.doit(*arguments)
            assert done.returncode == 3, (how, arguments)
            assert "The project has no specs." in done.stderr
            assert f"folder  {specs}" in done.stderr
            assert "Traceback" not in done.stderr
            assert follows("write a spec as a JSON file in this folder, or set [tool.qatbuild] specs") in done.stderr
        shutil.rmtree(specs) if specs.is_dir() else specs.unlink(missing_ok=True)
        shutil.rmtree(toy.root / "elsewhere", ignore_errors=True)
        shutil.copytree(kept, specs)
    assert toy.doit("net:dataset").returncode == 0
    specs.rename(toy.root / "nets")
    settings = toy.root / "pyproject.toml"
    settings.write_text(f'{settings.read_text()}specs = "nets"\n')
    assert toy.doit("net:dataset").returncode == 0


def test_one_folder_of_several_that_vanished_is_an_error(toy: ToyProject) -> None:
    settings = toy.root / "pyproject.toml"
    settings.write_text('[tool.qatbuild]\nstore = false\nspecs = ["specs", "audio/models", "*/nets"]\n')
    shutil.copytree(toy.root / "specs", toy.root / "audio/models")
    toy.built()
    toy.built()
    shutil.rmtree(toy.root / "audio/models")
    for arguments in ((), ("net",), ("list",)):
        done = toy.doit(*arguments)
        assert done.returncode == 3, arguments
        assert "A folder of the project's settings has no specs." in done.stderr
        assert "folder  audio/models" in done.stderr
        assert "*/nets" not in done.stderr  # A pattern may match nothing.


def test_empty_default_builds_everything_and_not_nothing(toy: ToyProject) -> None:
    (toy.root / "pyproject.toml").write_text("[tool.qatbuild]\nstore = false\ndefault = []\n")
    assert "evaluate" in toy.built()
    toy.built()
    toy.spec("net", evaluate={"min_top1": 50})
    assert toy.built() == ["evaluate"]


def test_spec_that_is_not_there_any_more_is_named_once(toy: ToyProject) -> None:
    toy.spec("other", evaluate={"min_top1": 1})
    toy.built()
    (toy.root / "specs/other.json").unlink()
    page = toy.root / "build/report.html"
    assert "other" in {model["label"] for model in shown(page)}
    assert toy.doit().stdout.startswith("no longer a spec: other\nbuild/report.html\nbuild/junit.xml\n8 up to date")
    assert "other" not in {model["label"] for model in shown(page)}
    assert toy.doit().stdout.startswith("8 up to date")


@pytest.mark.parametrize("patterns", ["", 'specs = ["specs", "*/nets"]'])
def test_unreadable_folder_of_specs_is_an_error(
    toy: ToyProject, patterns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (toy.root / "pyproject.toml").write_text(f"[tool.qatbuild]\nstore = false\n{patterns}\n")
    (toy.root / "specs/deep").mkdir()
    shutil.copy(toy.root / "specs/net.json", toy.root / "specs/deep/more.json")
    toy.built()
    (toy.root / "specs/deep").chmod(0)  # As root one reads it all the same, so the call must fail here, too.
    scandir = os.scandir

    def unreadable(folder: str = ".") -> object:
        if str(folder).endswith("specs/deep"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.chdir(toy.root)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # As in the build, whose record is then used.
    monkeypatch.setattr(os, "scandir", unreadable)
    project = Project.prepared(toy.root)
    for read in (FastPath(project).check, lambda _: LoadedProject.load(project, Everything())):
        with pytest.raises(SpecError) as error:
            read(())
        assert "A folder of specs cannot be read." in error.value.block()
        assert follows("change its permissions, or mount it") in error.value.hint
        assert "specs/deep" in error.value.block()
    (toy.root / "specs/deep").chmod(0o755)
    monkeypatch.setattr(os, "scandir", scandir)
    assert LoadedProject.load(project, Everything())
