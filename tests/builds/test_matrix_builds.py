"""A matrix of variants: shared stages are one task, and a new value builds only its own stages."""

from __future__ import annotations

from tests.builds.conftest import ToyProject

MATRIX = {"quantize.steps": [7, 70], "evaluate.min_top1": [1, 2]}


def test_stages_that_combinations_share_run_once_also_in_parallel(toy: ToyProject) -> None:
    toy.spec("net", matrix=MATRIX)
    ran = toy.built("-n", "3")
    assert [ran.count(stage) for stage in ("dataset", "float", "quantize", "evaluate")] == [1, 1, 2, 4]


def test_a_combination_is_built_by_its_label(toy: ToyProject) -> None:
    toy.spec("net", matrix=MATRIX)
    assert toy.built("net@min_top1-2,steps-70:convert").count("quantize") == 1
    assert (toy.root / "build/net@min_top1-2,steps-70/model.tflite").is_file()


def test_appending_a_value_builds_the_new_combinations_alone(toy: ToyProject) -> None:
    toy.spec("net", matrix=MATRIX)
    toy.built()
    toy.spec("net", matrix={"quantize.steps": [7, 70, 700], "evaluate.min_top1": [1, 2]})
    ran = toy.built()
    assert [ran.count(stage) for stage in ("float", "quantize", "evaluate")] == [0, 1, 2]
