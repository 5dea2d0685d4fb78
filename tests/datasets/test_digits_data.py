"""The embedded digits need nothing but scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import datasets
from tests.datasets.conftest import load, rows


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return load("digits")


def test_split_is_1437_and_360_images_of_8x8x1(digits: datasets.Dataset) -> None:
    assert rows(digits, "train", "images").shape == (1437, 8, 8, 1)
    assert rows(digits, "test", "images").shape == (360, 8, 8, 1)
    assert digits.class_names["labels"] == tuple("0123456789")


def test_sixteen_levels_are_spread_over_all_bytes(digits: datasets.Dataset) -> None:
    wanted = {round(level * 255 / 16) for level in range(17)}
    assert set(np.unique(rows(digits, "train", "images")).tolist()) == wanted
    assert {0, 128, 255} <= wanted  # 8 of 16 is 127.5, which rounds to even


def test_every_class_gives_a_fifth_to_the_test_within_one(digits: datasets.Dataset) -> None:
    test, train = np.bincount(rows(digits, "test", "labels")), np.bincount(rows(digits, "train", "labels"))
    assert np.abs(test - (test + train) / 5).max() <= 1


def test_the_two_splits_together_are_the_source_each_in_its_order(digits: datasets.Dataset) -> None:
    source = [bytes(np.rint(image * 255 / 16).astype(np.uint8)) for image in load_digits().images]
    train = [bytes(image) for image in rows(digits, "train", "images")]
    test = [bytes(image) for image in rows(digits, "test", "images")]
    assert sorted(train + test) == sorted(source)
    positions = [source.index(image) for image in train]
    assert positions == sorted(positions)


def test_source_named_for_embedded_data_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"dataset.url +http://example"):
        load("digits", url="http://example/digits.npz")
