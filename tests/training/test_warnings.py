"""Warnings about a dataset's classes and a model's answers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from qatbuild.exchange.dataset_facts import Column, DatasetFacts
from qatbuild.exchange.outputs import Output
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker import tasks
from qatbuild.worker.stages import warnings
from qatbuild.worker.stages.ends import taught


def dataset(counts: Mapping[str, list[int]], names: str) -> DatasetFacts:
    """A dataset of classes with a letter each."""
    columns = {"images": Column("uint8", (8, 8, 1)), "labels": Column("int32", (), tuple(names))}
    return DatasetFacts(columns, {}, {"labels": counts}, ())


def classifier(facts: DatasetFacts) -> dict[str, tasks.Task]:
    return {"labels": tasks.make("labels", Output(), facts, {"images": Scaling(0, 1)})}


@pytest.mark.parametrize(
    ("counts", "fragments"),
    [
        ({"train": [5, 5, 5], "test": [1, 1, 1]}, []),
        ({"train": [9, 0, 0], "test": [0, 3, 0]}, ["All training examples are of one class, a", "one class, b"]),
        (
            {"train": [9, 1, 0], "test": [3, 0, 1]},
            ["1 of 3 classes have no training examples (c)", "no test examples (b)"],
        ),
        ({"train": [9, 9, 9], "test": [0, 0, 0]}, []),
    ],
)
def test_classes_without_images_are_named(counts: dict[str, list[int]], fragments: list[str]) -> None:
    facts = dataset(counts, "abc")
    texts = warnings.of_classes(facts, taught(classifier(facts)))
    assert len(texts) == len(fragments)
    assert all(fragment in text for fragment, text in zip(fragments, texts, strict=True))


def test_long_lists_of_classes_are_cut() -> None:
    counts = {"train": [1, 1, *[0] * 8], "test": [1] * 10}
    facts = dataset(counts, "0123456789")
    (text,) = warnings.of_classes(facts, taught(classifier(facts)))
    assert "8 of 10 classes have no training examples (2, 3, 4, ...)" in text


def test_a_reconstruction_that_learns_from_normal_examples_alone_is_as_meant() -> None:
    facts = dataset({"train": [9, 0], "test": [3, 3]}, "ab")
    made = tasks.make("again", Output(task="reconstruction"), facts, {"images": Scaling(0, 1)})
    assert made.targets == ("images", "labels")
    assert warnings.of_classes(facts, taught({"again": made})) == []


def test_one_answer_to_everything_is_said_unless_the_test_set_has_no_other() -> None:
    for counts, warned in (([2, 2, 2], True), ([0, 6, 0], False), ([0, 0, 0], True)):
        facts = dataset({"test": counts}, "abc")
        text = warnings.of_answers("labels", {"labels": ["labels"]}, facts)
        assert ("every test example the same class" in text) == warned


def test_one_answer_of_one_of_several_outputs_is_said_with_its_name() -> None:
    facts = dataset({"test": [1, 1]}, "ab")
    targets = {"a": ["labels"], "b": ["labels"]}
    assert warnings.of_answers("b", targets, facts).startswith("b: The .tflite gives")
