"""Which examples are for training, for validation and for the test, where the data do not say so themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets import Dataset
from qatbuild.worker.datasets.source import Source

SEED = 20180912
"""Seed of the split, part of the meaning of `dataset.validation`: a fraction is the same examples in every build."""

MAX_FRACTION = 0.5

Numbers = NDArray[np.int32]
"""Numbers of examples in the data; four bytes each, for there may be many."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """Examples of a split: rows `index` of the data's split `origin`, in the data's order."""

    origin: str
    index: Numbers


def parts(dataset: Dataset, source: Source) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Returns the examples of the three splits, and notes.

    Validation is the tail of a permutation of the training examples, the test its head, each unless the data have that
    split. A larger fraction holds out the same examples and some more.

    DatasetError if a fraction is not 0..0.5, or the data have no test split and the spec no fraction.
    """
    fraction = _fraction("validation", source.validation)
    count = dataset.count("train")
    # RandomState's stream is frozen for good (NEP 19); Generator's may change with a version of NumPy.
    order = np.arange(count, dtype=np.int32)
    np.random.RandomState(SEED).shuffle(order)
    splits = {split: Part(split, np.arange(dataset.count(split), dtype=np.int32)) for split in dataset.splits}
    notes = []
    tested = 0
    if "test" not in splits:
        tested = max(1, round(count * _test_fraction(source)))
        splits["test"] = Part("train", np.sort(order[:tested]))
        notes.append(f"the data have no test split: {tested} of {count} examples, drawn at random, are held out for it")
    held = 0
    if "validation" in splits:
        notes.append("the data have a validation split: dataset.validation holds out nothing")
    else:
        held = round((count - tested) * fraction)
        splits["validation"] = Part("train", np.sort(order[count - held :]))
    splits["train"] = Part("train", np.sort(order[tested : count - held]))
    if not len(splits["train"].index):
        raise DatasetError(
            "No example is left for training.",
            [("examples", count), ("for the test", tested), ("for validation", held)],
            "Give more examples, or a smaller fraction of dataset.test.",
        )
    return {split: splits[split] for split in SPLITS}, tuple(notes)


def _fraction(name: str, fraction: float) -> float:
    if not 0 <= fraction <= MAX_FRACTION:
        raise DatasetError(
            f"The part to hold out for {'the test' if name == 'test' else name} is out of range.",
            [(f"dataset.{name}", fraction), ("expected", f"a fraction of the training set, 0..{MAX_FRACTION}")],
        )
    return fraction


def _test_fraction(source: Source) -> float:
    if source.test is None:
        raise DatasetError(
            "The data have no test split.",
            [("dataset.call", source.call) if source.call else ("dataset.path", source.path)],
            'Add one, or give "test": 0.2 to hold out a fifth of the training examples for it.',
        )
    return _fraction("test", source.test)
