"""`doit list` says the same whether it reads the specs or takes them from the record of the last build."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture.test_contracts import imported
from tests.builds.conftest import SPEC, ToyProject


@pytest.fixture
def built(toy: ToyProject) -> ToyProject:
    """Three specs, one with variants, one that extends a base, one with a network of the user's; all on record."""
    (toy.root / "net.py").write_text("def build(images, classes, *, training):\n    return images\n")
    (toy.root / "specs/_base.json").write_text(json.dumps({"description": "on a base"}))
    toy.spec("own", model={"call": "net:build"}, extends="_base.json")
    toy.spec("many", description="many models", variants={"a": {}, "b": {"train": {"steps": 200}}})
    toy.built()
    return toy


def listed(toy: ToyProject, *options: str) -> dict[str, str]:
    """Return name -> description."""
    done = toy.doit("list", *options)
    assert done.returncode == int("  cannot be built: " in done.stdout), done.stderr
    rows = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    return {name: " ".join(text) for name, *text in rows}


def read(toy: ToyProject) -> dict[str, str]:
    """Return the same of all specs, read anew: --all leaves the record aside."""
    return {name: text for name, text in listed(toy, "--all").items() if ":" not in name}


def nothing(root: Path) -> None:
    """Change nothing."""


def describe(root: Path) -> None:
    (root / "specs/net.json").write_text(json.dumps({**SPEC, "description": "edited"}))


def add(root: Path) -> None:
    (root / "specs/new.json").write_text(json.dumps({**SPEC, "train": {**SPEC["train"], "steps": 7}}))


def remove(root: Path) -> None:
    (root / "specs/net.json").unlink()


def spoil(root: Path) -> None:
    (root / "specs/net.json").write_text(json.dumps({**SPEC, "trian": {}}))


def edit_base(root: Path) -> None:
    (root / "specs/_base.json").write_text(json.dumps({"description": "on another base"}))


def remove_network(root: Path) -> None:
    (root / "net.py").unlink()


def rename_variant(root: Path) -> None:
    (root / "specs/many.json").write_text(json.dumps({**SPEC, "variants": {"a": {}, "c": {}}}))


def edit_settings(root: Path) -> None:
    (root / "pyproject.toml").write_text('[tool.qatbuild]\nstore = false\ndefault = ["net"]\n')


def remove_results(root: Path) -> None:
    for path in (root / "build/many@a").iterdir():
        path.unlink()


CHANGES = (
    nothing, describe, add, remove, spoil, edit_base, remove_network, rename_variant, edit_settings, remove_results,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_list_is_that_of_the_specs_as_they_are(built: ToyProject, change: Callable[[Path], None]) -> None:
    change(built.root)
    assert listed(built) == read(built)


def test_list_reads_no_spec_if_nothing_changed(built: ToyProject) -> None:
    before = listed(built)
    assert before == {
        "many": "many models",
        "many@a": "many models (a)",
        "many@b": "many models (b)",
        "net": "build net",
        "own": "on a base",
        "shared": "all stages that several models share",
    }
    assert "jsonschema" not in imported("doit", "list", cwd=built.root)
    for options in (("-q",), ("--sort", "definition"), ("-s",), ("net",), ("--deps",)):
        assert built.doit("list", *options).returncode == 0


def test_list_of_a_project_that_was_never_built(toy: ToyProject) -> None:
    assert listed(toy) == {"net": "build net", "shared": "all stages that several models share"}
    assert not (toy.root / "build/net").exists()
