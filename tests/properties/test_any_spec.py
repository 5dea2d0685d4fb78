"""Whatever a spec file holds, reading it gives variants or one readable error, and nothing else.

20,000 specs broken at random, always the same ones. No clock is read here: what bounds the time is that the work is
bounded, which tests/unit/test_huge_specs.py counts.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest

from qatbuild.engine.plan import plan
from qatbuild.exchange.errors import LINES, QatbuildError
from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths
from tests.properties.mutation import CRASHING, LONG, SPECS, mutated, seeds

COUNT, CHUNKS = 20_000, 20


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped specs, which others may extend."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(SPECS, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def fault_of(project: Path, content: bytes) -> str:
    """The error of a spec with this content; '' if it can be planned."""
    file = project / "net.json"
    file.write_bytes(content)
    try:
        plan(load("net", file, AllowedPaths(project)), project)
    except QatbuildError as error:
        return error.block()
    return ""


def is_readable(text: str) -> bool:
    lines = text.split("\n")
    return len(lines) <= LINES and all(line.isprintable() and len(line) < 800 for line in lines)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_any_spec_is_planned_or_refused_with_a_readable_error(project: Path, chunk: int) -> None:
    size = COUNT // CHUNKS
    originals: list[Any] = seeds()
    for number in range(chunk * size, (chunk + 1) * size):
        content = mutated(Random(number), originals)
        try:
            block = fault_of(project, content)
        except Exception as fault:
            fault.add_note(f"spec {number}: {content[:2000]!r}")
            raise
        assert is_readable(block), (number, block)


@pytest.mark.parametrize("spec", LONG.values(), ids=LONG)
def test_the_specs_to_break_that_no_folder_has_are_whole(project: Path, spec: Any) -> None:
    assert fault_of(project, json.dumps(spec).encode()) == ""


@pytest.mark.parametrize("text", CRASHING.values(), ids=CRASHING)
def test_specs_that_once_crashed_are_refused(project: Path, text: str) -> None:
    block = fault_of(project, text.encode())
    assert block.startswith("A spec ")
    assert is_readable(block)


def test_a_value_that_is_no_object_is_refused_although_every_variant_replaces_it(project: Path) -> None:
    assert '/quantize  must be an object, got "int8".' in fault_of(project, CRASHING["quantize_is_text"].encode())


def test_the_broken_specs_are_of_both_kinds(project: Path) -> None:
    originals: list[Any] = seeds()
    blocks = [fault_of(project, mutated(Random(number), originals)) for number in range(400)]
    assert 5 < sum(not block for block in blocks) < 200
    assert len({json.dumps(block.split("\n")[0]) for block in blocks}) > 10
