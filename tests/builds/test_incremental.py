"""The stages that run after each change."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.builds.conftest import ToyProject

ALL = ["dataset", "check", "float", "quantize", "export", "freeze", "convert", "evaluate"]
HOME = "build/net"


def test_first_build_runs_every_stage_once(toy: ToyProject) -> None:
    assert sorted(toy.built()) == sorted(ALL)
    for name in ("inference_graph.pb", "frozen_graph.pb", "float_graph.pb", "model.tflite", "report.json"):
        assert (toy.root / HOME / name).is_file()


def test_second_build_runs_nothing(toy: ToyProject) -> None:
    toy.built()
    done = toy.doit()
    assert toy.runs() == []
    assert "8 up to date" in done.stdout


def test_touch_runs_nothing(toy: ToyProject) -> None:
    toy.built()
    for path in [toy.root / "specs/net.json", toy.root / "specs/data.bin", *toy.root.glob("build/**/*")]:
        os.utime(path, (1, 1))
    assert toy.built() == []


def test_layout_and_comments_of_the_spec_run_nothing(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", description="another sentence")
    assert toy.built() == []


def test_deleting_an_artifact_reruns_its_stage_alone(toy: ToyProject) -> None:
    toy.built()
    (toy.root / HOME / "frozen_graph.pb").unlink()
    assert toy.built() == ["freeze"]


def test_truncated_artifact_is_stale(toy: ToyProject) -> None:
    toy.built()
    model = toy.root / HOME / "model.tflite"
    whole = model.read_bytes()
    model.write_bytes(whole[:10])
    assert toy.built() == ["convert"]
    assert model.read_bytes() == whole


def test_edited_artifact_of_equal_size_is_stale(toy: ToyProject) -> None:
    toy.built()
    model = toy.root / HOME / "model.tflite"
    whole = model.read_bytes()
    model.write_bytes(b"?" + whole[1:])
    assert toy.built() == ["convert"]


def test_editing_evaluate_runs_evaluation_alone(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", evaluate={"min_top1": 50})
    assert toy.built() == ["evaluate"]


def test_editing_checkpoint_choice_does_not_train(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", convert={"checkpoint": 8})
    assert toy.built() == ["freeze", "convert", "evaluate"]


def test_editing_std_dev_runs_the_stages_that_read_it(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", input={"mean": 121, "std_dev": 32})
    assert set(toy.built()) == {"check", "float", "quantize", "export", "freeze", "convert", "evaluate"}


def test_equal_output_stops_later_stages_from_running(toy: ToyProject) -> None:
    toy.built()
    (toy.root / "specs/data.bin").write_text("PIXELS")
    assert toy.built() == ["dataset"]


def test_new_data_runs_everything_that_sees_it(toy: ToyProject) -> None:
    toy.built()
    (toy.root / "specs/data.bin").write_text("others")
    assert "dataset" in (ran := toy.built())
    assert {"float", "quantize", "evaluate"} <= set(ran)


def test_reason_names_field_and_values(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", evaluate={"min_top1": 50})
    assert "net:evaluate: evaluate.min_top1: null -> 50" in toy.doit().stdout


def test_two_specs_share_dataset_and_float_training(toy: ToyProject) -> None:
    toy.spec("other", quantize={"steps": 7})
    ran = toy.built()
    assert [ran.count(stage) for stage in ("dataset", "float", "quantize", "evaluate")] == [1, 1, 2, 2]


def test_variants_are_built_by_the_name_of_their_spec(toy: ToyProject) -> None:
    toy.spec("net", variants={"short": {"quantize": {"steps": 7}}, "long": {"quantize": {"steps": 70}}})
    assert toy.built("net@short").count("quantize") == 1
    assert toy.built("net:quantize") == ["quantize"]
    assert toy.built("net").count("dataset") == 0
    assert (toy.root / "build/net@long/model.tflite").is_file()


def test_a_label_with_its_stage_builds_up_to_there(toy: ToyProject) -> None:
    assert toy.built("net:float") == ["dataset", "check", "float"]


def test_specs_in_folders_have_labels_with_the_folder(toy: ToyProject) -> None:
    toy.spec("vision/deep", dataset={"name": "cifar10", "path": "../data.bin"})
    assert "convert" in toy.built("vision/deep:convert")
    assert (toy.root / "build/vision/deep/model.tflite").is_file()


def test_plain_doit_builds_the_labels_named_in_pyproject(toy: ToyProject) -> None:
    toy.spec("absent", dataset={"name": "cifar10", "path": "not-here.bin"})
    (toy.root / "pyproject.toml").write_text('[tool.qatbuild]\ndefault = ["net"]\n')
    assert sorted(toy.built()) == sorted(ALL)


def test_clean_removes_artifacts(toy: ToyProject) -> None:
    toy.built()
    assert toy.doit("clean", "net").returncode == 0
    assert not (toy.root / HOME / "model.tflite").exists()
    assert "convert" in toy.built()


def test_specs_of_different_folders_share_stages_with_equal_settings(toy: ToyProject) -> None:
    toy.spec("vision/deep", dataset={"name": "cifar10", "path": "../data.bin"})
    ran = toy.built()
    assert [ran.count(stage) for stage in ("dataset", "float", "quantize")] == [1, 1, 1]


def test_data_of_an_allowed_folder_outside_the_project(toy: ToyProject) -> None:
    (toy.root.parent / "outside").mkdir(exist_ok=True)
    (toy.root.parent / "outside/data.bin").write_text("pixels")
    toy.spec("net", dataset={"name": "cifar10", "path": "../../outside/data.bin"})
    assert "lies outside the project" in toy.doit().stdout
    (toy.root / "pyproject.toml").write_text('[tool.qatbuild]\nallow = ["../outside"]\n')
    assert "convert" in toy.built()


def test_editing_the_user_s_network_retrains_and_a_comment_does_not(toy: ToyProject) -> None:
    network = toy.root / "net.py"
    network.write_text("def build(images, classes, *, training):\n    return images\n")
    toy.spec("net", model={"call": "net:build"})
    toy.built()
    network.write_text("def build(images, classes, *, training):  # a comment\n    return images\n")
    assert toy.built() == []
    network.write_text("def build(images, classes, *, training):\n    return -images\n")
    assert {"check", "float", "quantize", "export"} <= set(toy.built())


def test_a_file_below_a_linked_folder_is_an_input(toy: ToyProject) -> None:
    (toy.root / "far").mkdir()
    picture = toy.root / "far/one.png"
    picture.write_text("black")
    classes = toy.root / "specs/pictures/train"
    classes.mkdir(parents=True)
    (classes / "cats").symlink_to(toy.root / "far")
    (classes / "circle").symlink_to(classes.parent)
    toy.spec("net", dataset={"name": "images", "path": "pictures"})
    assert "dataset" in toy.built()
    assert toy.built() == []
    picture.write_text("white")
    assert toy.built() == ["dataset"]


def test_number_of_threads_is_part_of_a_request(toy: ToyProject) -> None:
    (toy.root / "pyproject.toml").write_text("[tool.qatbuild]\nthreads = 1\n")
    toy.built()
    (toy.root / "pyproject.toml").write_text("[tool.qatbuild]\nthreads = 3\n")
    assert "net:float: threads: 1 -> 3" in toy.doit().stdout


def test_two_builds_at_once_run_each_stage_once(toy: ToyProject) -> None:
    toy.spec("other", quantize={"steps": 7})
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: toy.doit(), range(2)))
    assert [build.returncode for build in done] == [0, 0]
    assert toy.runs().count("float") == 1


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_parallel_and_serial_builds_leave_the_same(toy: ToyProject, kind: str) -> None:
    toy.spec("other", evaluate={"min_top1": 1})
    ran = toy.built("-n", "3", "-P", kind)
    assert [ran.count(stage) for stage in ("dataset", "float", "quantize", "convert")] == [1, 1, 1, 2]
    assert toy.built() == []
