"""`doit new` on data sets as people have them: each gets a spec that builds, or is refused with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qatbuild.engine.new import beginning
from qatbuild.engine.new.beginning import Wish, begin
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import QatbuildError
from qatbuild.worker.look import data
from tests.datasets.test_tfrecord_files import slim, write
from tests.e2e.conftest import Project as Built
from tests.hints import follows
from tests.new import layouts, people

Data = Callable[[Path], Path]

NETWORKS = """
import keras
from keras import layers


def joined(inputs, outputs, *, training):
    inputs, outputs = (each if isinstance(each, dict) else {"lone": each} for each in (inputs, outputs))
    sources = {name: keras.Input(each.shape[1:], name=name) for name, each in inputs.items()}
    flat = [layers.Flatten()(each) for each in sources.values()]
    hidden = layers.Dense(8, "relu")(layers.Concatenate()(flat) if len(flat) > 1 else flat[0])
    results = {name: layers.Dense(size, name=name)(hidden) for name, size in outputs.items()}
    return keras.Model(list(sources.values()), results if len(results) > 1 else results.popitem()[1])
"""
"""A network for any inputs and outputs."""


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


def test_what_can_be_built_gets_a_valid_spec_whose_gates_pass(tmp_path: Path) -> None:
    names = [make.__name__ for make in people.BUILT]
    for make in people.BUILT:
        begun(tmp_path, make)
    for make, targets in ((people.two_inputs, ()), (people.three_targets, ("kind", "owner", "age"))):
        (tmp_path / "nets.py").write_text(NETWORKS)
        begun(tmp_path, make, network="nets:joined", targets=targets)
        names.append(make.__name__)
    project = Built(tmp_path)
    assert f"{len(names)} labels without faults" in project.build("check")
    project.build("run", "-c", "-n", "2", *names)
    assert project.report("mixed_sizes")["input"]["dtype"] == "uint8"
    assert set(project.report("many_labels")["metrics"]) >= {"auc", "accuracy"}


@pytest.mark.parametrize("refusal", [*people.REFUSED, *layouts.REFUSED], ids=lambda refusal: refusal.make.__name__)
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


@pytest.mark.parametrize("taken", layouts.TAKEN, ids=lambda taken: taken.make.__name__)
def test_data_are_taken_as_folders_archives_and_tables_hold_them(tmp_path: Path, taken: layouts.Taken) -> None:
    dataset = begun(tmp_path, taken.make, "data")["dataset"]
    assert dataset.items() >= taken.dataset.items()


def test_cifar_10_is_taken_as_an_archive_as_its_folder_and_as_the_folder_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = layouts.cifar(tmp_path / "data", monkeypatch)
    wish = Wish("net", str(archive), steps=6)
    for place in (archive, archive.parent / "cifar-10-batches-bin", archive.parent):
        look = begin(Project.at(tmp_path), wish._replace(data=str(place), force=True)).look
        assert (look.dataset["name"], look.counts) == ("cifar10", {"train": 15, "test": 3})
        assert look.inputs[0].shape == (32, 32, 3)
        archive.unlink(missing_ok=True)


@pytest.mark.parametrize("names", [["train.tfrecord"], ["pets-train-00000-of-00002", "pets-train-00001-of-00002"]])
def test_tfrecords_are_taken_as_a_file_and_as_shards(tmp_path: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        write(tmp_path / "data" / name, [slim(each) for each in range(6 * number, 6 * number + 6)])
    data = tmp_path / "data" / (names[0] if len(names) == 1 else "")
    document = begin(Project.at(tmp_path), Wish("net", str(data), steps=6)).document
    assert document["dataset"]["name"] == "tfrecord"
    assert document["dataset"]["test"] == 0.2
    assert f"{6 * len(names)} for train; an example has 40x48x3 bytes, 2 classes" in document["dataset"]["$comment"]


def test_several_inputs_and_targets_are_those_of_the_spec_by_name(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETWORKS)
    spec = begun(tmp_path, people.two_inputs, network="nets:joined")
    assert spec["inputs"]["images"].keys() == {"$comment", "mean", "std_dev"}
    assert spec["inputs"]["measures"]["real"] is True
    spec = begun(tmp_path, people.three_targets, network="nets:joined", targets=("kind", "owner", "age"))
    assert {name: each["task"] for name, each in spec["outputs"].items()} == {
        "kind": "classification", "owner": "classification", "age": "regression"
    }  # fmt: skip
    assert spec["evaluate"]["gates"] == {
        "kind.top1": {"max_drop": 20}, "owner.top1": {"max_drop": 20}, "age.r2": {"max_drop": 0.2}
    }  # fmt: skip


def test_the_numbers_of_a_table_are_taken_as_arrays_with_a_network_of_ones_own(tmp_path: Path) -> None:
    table = layouts.a_table_of_numbers(tmp_path / "data")
    with pytest.raises(QatbuildError, match="holds numbers") as error:
        begin(Project.at(tmp_path), Wish("net", str(table), steps=6))
    assert follows('Save them as arrays: numpy.savez("data.npz", train_features') in error.value.hint
    numbers = np.random.default_rng(1).random((20, 2), np.float32)
    np.savez(tmp_path / "data.npz", train_features=numbers, train_labels=np.arange(20) % 2)
    with pytest.raises(QatbuildError) as error:
        begin(Project.at(tmp_path), Wish("net", str(tmp_path / "data.npz"), steps=6))
    assert follows("For others write a function that returns a Keras model") in error.value.hint
    (tmp_path / "nets.py").write_text(NETWORKS)
    begun = begin(Project.at(tmp_path), Wish("net", str(tmp_path / "data.npz"), "nets:joined", steps=6))
    assert begun.document["inputs"]["features"]["real"] is True


@pytest.mark.parametrize(
    ("wish", "said", "hint", "mended"),
    [
        ({"targets": ("labels", "kinds")}, "--targets kinds", follows("Name arrays of the file"), ("labels",)),
        (
            {"targets": ("images", "labels")},
            "has several dimensions",
            follows("See docs/tasks.md for targets"),
            ("labels",),
        ),
        (
            {"targets": ("labels", "age")},
            "have no input",
            follows("Save the array that the network is to"),
            ("labels",),
        ),
    ],
)
def test_targets_that_cannot_be(tmp_path: Path, wish: Any, said: str, hint: str, mended: Any) -> None:
    path = people.arrays(tmp_path / "data")
    if "age" in wish["targets"]:
        np.savez(path, train_labels=np.arange(6) % 2, train_age=np.arange(6) / 2)
    with pytest.raises(QatbuildError) as error:
        begin(Project.at(tmp_path), Wish("net", str(path), steps=6, **wish))
    assert said in " ".join(error.value.block().split())
    assert hint in error.value.hint
    path = people.again(people.arrays)(path)
    begin(Project.at(tmp_path), Wish("net", str(path), steps=6, targets=mended))


def test_pictures_in_files_have_no_other_target_than_their_classes(tmp_path: Path) -> None:
    wish = Wish("net", str(people.rgba(tmp_path / "pictures")), steps=6)
    with pytest.raises(QatbuildError) as error:
        begin(Project.at(tmp_path), wish._replace(targets=("labels",)))
    assert error.value.hint == follows("leave --targets out")
    begin(Project.at(tmp_path), wish)
