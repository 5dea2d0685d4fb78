"""The papers beside each model: provenance.json and bom.json, derived from manifests and records."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.builds.conftest import ToyProject, toy_at
from tests.official import bom_faults, statement_faults

PAPERS = ("bom.json", "provenance.json")


def papers(toy: ToyProject, label: str = "net") -> dict[str, Any]:
    return {name: json.loads((toy.root / "build" / label / name).read_text()) for name in PAPERS}


def texts(toy: ToyProject, label: str = "net") -> dict[str, bytes]:
    return {name: (toy.root / "build" / label / name).read_bytes() for name in PAPERS}


def signature(toy: ToyProject) -> Path:
    return toy.root / "build/net/provenance.intoto.jsonl"


def test_papers_are_valid_and_name_what_the_model_was_made_from(toy: ToyProject) -> None:
    toy.spec("net", description="A toy.", deploy={"c_array": {}})
    toy.built()
    made = papers(toy)
    assert bom_faults(json.dumps(made["bom.json"])) == ""
    assert statement_faults(json.dumps(made["provenance.json"])) == ""
    home, statement = toy.root / "build/net", made["provenance.json"]
    subjects = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    assert {"model.tflite", "frozen_graph.pb", "bom.json", "evaluate.manifest.json"} <= set(subjects)
    assert {"deploy/c_array/route.json"} <= set(subjects)
    for name, digest in subjects.items():
        assert hashlib.sha256((home / name).read_bytes()).hexdigest() == digest, name
    build = statement["predicate"]["buildDefinition"]
    assert build["externalParameters"]["label"] == "net"
    assert build["externalParameters"]["spec"]["train"]["steps"] == 100
    assert [each["stage"] for each in build["internalParameters"]["stages"]][:3] == ["dataset", "check", "float"]
    materials = {each["name"]: each for each in build["resolvedDependencies"]}
    assert materials["specs/data.bin"]["digest"]["sha256"] == hashlib.sha256(b"pixels").hexdigest()
    assert {"spec", "dataset", "code of convert", "tensorflow"} <= set(materials)
    assert made["bom.json"]["metadata"]["component"]["description"] == "A toy."


def test_an_equal_build_in_another_folder_has_equal_papers(tmp_path: Path) -> None:
    """No clock, host or path: not even the report's measured times."""
    folders = [tmp_path / "one", tmp_path / "two/deeper"]
    for folder in folders:
        folder.mkdir(parents=True)
        toy_at(folder).built()
    assert texts(ToyProject(folders[0])) == texts(ToyProject(folders[1]))
    assert all(str(tmp_path).encode() not in text for text in texts(ToyProject(folders[0])).values())


def test_each_variant_has_its_papers_and_another_one_s_edit_leaves_them(toy: ToyProject) -> None:
    toy.spec("net", variants={"a": {"train": {"seed": 1}}, "b": {"train": {"seed": 2}}})
    toy.built()
    before = texts(toy, "net@a")
    toy.spec("net", variants={"a": {"train": {"seed": 1}}, "b": {"train": {"seed": 3}}})
    toy.built()
    assert texts(toy, "net@a") == before
    assert (
        papers(toy, "net@b")["provenance.json"]["predicate"]["buildDefinition"]["externalParameters"]["spec"]["train"][
            "seed"
        ]
        == 3
    )


def test_a_card_changes_the_papers_and_runs_nothing(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", card={"license": "Apache-2.0", "users": ["testers"], "risks": {"none known": "looked"}})
    assert toy.built() == []
    component = papers(toy)["bom.json"]["metadata"]["component"]
    assert component["licenses"] == [{"expression": "Apache-2.0"}]
    assert component["modelCard"]["considerations"]["users"] == ["testers"]
    assert bom_faults(texts(toy)["bom.json"].decode()) == ""


def test_a_build_by_an_earlier_version_gets_papers_and_runs_nothing(toy: ToyProject) -> None:
    toy.built()
    before = texts(toy)
    for name in PAPERS:
        (toy.root / "build/net" / name).unlink()
    (toy.root / "build/.qatbuild/record").unlink()  # Another version of the code makes it invalid.
    assert toy.built() == []
    assert texts(toy) == before


def test_a_new_input_with_equal_bytes_is_a_new_material(toy: ToyProject) -> None:
    """What follows is cut off, but the papers tell of the data that are there."""
    toy.built()
    before = texts(toy)
    (toy.root / "specs/data.bin").write_text("PIXELS")
    assert toy.built() == ["dataset"]
    assert texts(toy)["provenance.json"] != before["provenance.json"]


@pytest.mark.parametrize(("broken", "names"), [("evaluate refuse", ["net"]), ("", ["net:convert"])])
def test_a_model_that_is_not_evaluated_has_no_papers(toy: ToyProject, broken: str, names: list[str]) -> None:
    toy.built()
    signature(toy).write_text("of the former model")
    (toy.root / "broken.txt").write_text(broken)
    toy.spec("net", train={"steps": 200, "learning_rate": {"initial": 0.1}})
    toy.doit(*names)
    assert not [name for name in (*PAPERS, signature(toy).name) if (toy.root / "build/net" / name).exists()]


def test_new_papers_have_no_earlier_signature(toy: ToyProject) -> None:
    toy.built()
    signature(toy).write_text("of the former model")
    toy.spec("net", evaluate={"min_top1": 50})
    toy.built()
    assert not signature(toy).exists()


def test_clean_and_gc_remove_the_papers(toy: ToyProject) -> None:
    toy.built()
    assert toy.doit("clean", "net").returncode == 0
    assert not [name for name in PAPERS if (toy.root / "build/net" / name).exists()]
    toy.spec("other")
    toy.built()
    (toy.root / "specs/other.json").unlink()
    assert toy.doit("gc", "--age", "0").returncode == 0
    assert not (toy.root / "build/other").exists()


def test_whatever_lies_in_the_place_of_a_paper_makes_way(toy: ToyProject) -> None:
    toy.built()
    before = texts(toy)
    (toy.root / "build/net/bom.json").unlink()
    (toy.root / "build/net/bom.json").symlink_to("/nowhere")
    (toy.root / "build/net/provenance.json").unlink()
    (toy.root / "build/net/provenance.json").mkdir()
    assert toy.built("net:evaluate") == []
    assert texts(toy) == before
