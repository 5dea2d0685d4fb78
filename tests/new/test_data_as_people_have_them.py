"""`doit new` on data sets as people have them: each gets a spec that builds, or is refused with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.new import beginning
from qatbuild.engine.new.beginning import Wish, begin
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import QatbuildError
from qatbuild.worker.look import data
from tests.e2e.conftest import Project as Built
from tests.new import people

Data = Callable[[Path], Path]


@pytest.fixture(autouse=True)
def without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks in this process: thirty others would take half a minute to import NumPy."""
    monkeypatch.setattr(beginning, "look_at", data.answer)


def begun(root: Path, make: Data, name: str = "", **fields: Any) -> dict[str, Any]:
    """The spec that is written for the data, which lie in a folder of the project."""
    name = name or make.__name__
    wish = Wish(name, str(make(root / name)), steps=6, **fields)
    begin(Project.at(root), wish)
    return dict(json.loads((root / "specs" / f"{name}.json").read_text()))


def test_what_can_be_built_gets_a_spec_that_is_valid_and_whose_dataset_and_check_are_built(tmp_path: Path) -> None:
    names = [make.__name__ for make in people.BUILT]
    for make in people.BUILT:
        begun(tmp_path, make)
    project = Built(tmp_path)
    assert f"{len(names)} labels without faults" in project.build("check")
    project.build("run", "-c", *(f"{name}:check" for name in names))
    project.build("mixed_sizes", "many_labels")
    assert project.report("mixed_sizes")["input"]["dtype"] == "uint8"
    assert set(project.report("many_labels")["metrics"]) >= {"auc", "accuracy"}


@pytest.mark.parametrize("refusal", people.REFUSED, ids=lambda refusal: refusal.make.__name__)
def test_what_cannot_be_built_is_refused_and_builds_when_the_hint_is_followed(
    tmp_path: Path, refusal: people.Refusal
) -> None:
    path = refusal.make(tmp_path / "data")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(QatbuildError) as error:
        begin(Project.at(tmp_path), Wish("net", str(path), steps=6))
    assert refusal.said in " ".join(error.value.block().split())
    assert refusal.hint in " ".join(error.value.hint.split())
    assert sorted(tmp_path.rglob("*")) == before
    begun = begin(Project.at(tmp_path), Wish("net", str(refusal.mended(path)), steps=6))
    assert begun.file == tmp_path / "specs/net.json"


def test_pictures_of_several_sizes_get_one_that_is_no_larger_than_most(tmp_path: Path) -> None:
    spec = begun(tmp_path, people.mixed_sizes)
    assert spec["dataset"]["size"] == [8, 8]
    assert "have 9 sizes" in str(spec["$comment"])
    assert begun(tmp_path, people.large_photographs)["dataset"]["size"] == [96, 96]


def test_mean_and_deviation_are_those_of_the_bytes(tmp_path: Path) -> None:
    assert begun(tmp_path, people.arrays)["input"]["mean"] in range(126, 130)
    assert begun(tmp_path, people.arrays, "again")["input"]["std_dev"] in range(72, 76)


def test_real_images_are_real_inputs_and_the_spec_says_how_to_feed_bytes(tmp_path: Path) -> None:
    spec = begun(tmp_path, people.float_images)
    assert spec["inputs"]["images"]["real"] is True
    assert "save round(255 * value) as uint8" in str(spec["$comment"])


@pytest.mark.parametrize("make", [people.a_text_among_pictures, people.damaged_files], ids=lambda make: make.__name__)
def test_files_that_are_no_pictures_are_left_out_and_named(tmp_path: Path, make: Data) -> None:
    spec = begun(tmp_path, make)
    assert spec["dataset"]["skip_damaged"] is True
    assert "cannot be read as pictures, such as" in str(spec["$comment"])


def test_uneven_classes_are_named_with_what_the_commonest_alone_reaches(tmp_path: Path) -> None:
    text = str(begun(tmp_path, people.unbalanced)["$comment"])
    assert "80 training examples of fine, 4 of broken" in text
    assert "is right in 95 %" in text


def test_the_gate_is_no_finer_than_the_test_examples(tmp_path: Path) -> None:
    assert begun(tmp_path, people.arrays)["evaluate"]["max_accuracy_drop"] == 20
    assert begun(tmp_path, people.three_pictures)["evaluate"]["max_accuracy_drop"] == 100


def test_splits_of_the_data_are_kept_and_others_held_out(tmp_path: Path) -> None:
    assert "test" not in begun(tmp_path, people.splits_of_their_own)["dataset"]
    assert begun(tmp_path, people.rgba)["dataset"]["test"] == 0.2
