"""Every manual edit in a build folder is noticed and undone by the next build."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builds.conftest import REPOSITORY, ToyProject


def with_a_fact(fields: dict[str, Any]) -> None:
    fields["facts"]["classes"] = 11


def without_files(fields: dict[str, Any]) -> None:
    fields["files"] = {}


def with_a_name_that_leads_out(fields: dict[str, Any]) -> None:
    fields["files"]["../../specs/net.json"] = [1, "00"]


@pytest.mark.parametrize("edit", [with_a_fact, without_files, with_a_name_that_leads_out])
def test_an_edited_manifest_is_detected(toy: ToyProject, edit: Callable[[dict[str, Any]], None]) -> None:
    toy.built()
    manifest = toy.root / "build/net/convert.manifest.json"
    before = manifest.read_bytes()
    fields = json.loads(before)
    edit(fields)
    manifest.write_text(json.dumps(fields))
    assert toy.built() == ["convert"]  # To the old result: what follows is cut off.
    assert manifest.read_bytes() == before


def test_clean_removes_nothing_outside_of_the_build_folder(toy: ToyProject) -> None:
    toy.built()
    manifest = toy.root / "build/net/convert.manifest.json"
    fields = json.loads(manifest.read_bytes())
    with_a_name_that_leads_out(fields)
    manifest.write_text(json.dumps(fields))
    assert toy.doit("clean", "net").returncode == 0
    assert (toy.root / "specs/net.json").exists()
    assert not manifest.exists()


@pytest.mark.parametrize("text", ["[]", "null", "5", "{}", "no JSON"])
def test_an_invalid_request_record_counts_as_not_built(toy: ToyProject, text: str) -> None:
    toy.built()
    (toy.root / "build/net/convert.request.json").write_text(text)
    (toy.root / "build/.qatbuild/record").unlink()
    done = toy.doit("explain")
    assert done.returncode == 0, done.stderr
    assert "not built yet" in done.stdout
    assert toy.built() == ["convert"]


def test_an_edited_request_record_is_detected(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", evaluate={"min_top1": 50})
    record = toy.root / "build/net/evaluate.request.json"
    record.write_text(record.read_text().replace('"min_top1": null', '"min_top1": 50'))
    assert toy.built() == ["evaluate"]


@pytest.mark.parametrize("name", ["doit.db", "files.db", "record", "sound"])
def test_unreadable_files_of_the_engine_are_ignored(toy: ToyProject, name: str) -> None:
    toy.built()
    memory = toy.root / "build/.qatbuild" / name
    memory.unlink(missing_ok=True)
    memory.mkdir()
    assert toy.built() == []
    for command in ("list", "explain"):
        assert toy.doit(command).returncode == 0
    toy.spec("net", evaluate={"min_top1": 50})
    assert toy.built() == ["evaluate"]
    assert toy.doit("forget", "net:convert").returncode == 0
    assert toy.built() == ["convert"]


def test_clean_waits_for_a_build_that_is_under_way(toy: ToyProject) -> None:
    toy.built()
    with (toy.root / "build/.qatbuild/lock").open("a") as build:
        fcntl.flock(build, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "doit", "clean", "net"]
        environment = {"PYTHONPATH": str(REPOSITORY)}
        with subprocess.Popen(command, cwd=toy.root, env=environment, stderr=subprocess.PIPE, text=True) as clean:
            assert clean.stderr is not None
            assert clean.stderr.readline().startswith("waiting for another build of this folder")
            assert model(toy).exists()
            fcntl.flock(build, fcntl.LOCK_UN)
            clean.stderr.read()
    assert clean.returncode == 0
    assert not model(toy).exists()


def model(toy: ToyProject) -> Path:
    return toy.root / "build/net/model.tflite"
