"""Warnings about a dataset's classes and a model's answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.facts import DatasetFacts
from qatbuild.worker.stages import warnings
from tests.training.project import DATASET


@pytest.mark.parametrize(
    ("counts", "fragments"),
    [
        ({"train": [5, 5, 5], "test": [1, 1, 1]}, []),
        ({"train": [9, 0, 0], "test": [0, 3, 0]}, ["All training images are of one class, a", "one class, b"]),
        ({"train": [9, 1, 0], "test": [3, 0, 1]}, ["1 of 3 classes have no training images (c)", "no test images (b)"]),
        ({"train": [9, 9, 9], "test": [0, 0, 0]}, []),
    ],
)
def test_classes_without_images_are_named(counts: dict[str, list[int]], fragments: list[str]) -> None:
    fields: dict[str, Any] = {**DATASET, "classes": 3, "class_names": list("abc"), "class_counts": counts}
    texts = warnings.of_classes(DatasetFacts.of(fields))
    assert len(texts) == len(fragments)
    assert all(fragment in text for fragment, text in zip(fragments, texts, strict=True))


def test_long_lists_of_classes_are_cut() -> None:
    fields: dict[str, Any] = {**DATASET, "class_counts": {"train": [1, 1, *[0] * 8], "test": [1] * 10}}
    (text,) = warnings.of_classes(DatasetFacts.of(fields))
    assert "8 of 10 classes have no training images (2, 3, 4, ...)" in text


def test_one_answer_to_everything_is_said_unless_the_test_set_has_no_other() -> None:
    same, labels = np.zeros(6, np.int64), np.arange(6, dtype=np.int32) % 3
    assert "every test image the same class" in warnings.of_answers(same, labels)[0]
    assert warnings.of_answers(same, np.ones(6, np.int32)) == []
    assert warnings.of_answers(labels.astype(np.int64), labels) == []
