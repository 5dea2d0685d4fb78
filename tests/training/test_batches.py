"""Order and augmentation are functions of (seed, step)."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qatbuild.worker.training import prefetch
from qatbuild.worker.training.batches import Augmentation, Batch, Batches
from qatbuild.worker.training.prefetch import Prefetch
from tests.training import applications

PICTURE = np.add.outer(10 * np.arange(6), np.arange(5)).astype(np.uint8)
"""Pixel (y, x) is 10 y + x: so a pixel's value says where it came from."""

SHIFTED_AND_MIRRORED = Augmentation(2, flip_left_right=True, fills={"images": 99})
MIRRORED = Augmentation(flip_left_right=True, fills={"images": 99})


def _batches(count: int = 10, batch_size: int = 4, seed: int = 1, augmentation: Augmentation | None = None) -> Batches:
    images = np.broadcast_to(PICTURE[None, :, :, None], (count, 6, 5, 3)).copy()
    rows = applications.examples(images=images, labels=np.arange(count, dtype=np.int32))
    return Batches(rows, ("images", "labels"), _split, batch_size, seed, augmentation or Augmentation())


def _split(rows: dict[str, Any]) -> Batch:
    return applications.batch(rows["images"], rows["labels"])


def test_each_epoch_shows_every_example_once_in_another_order() -> None:
    batches = _batches(count=10, batch_size=4)
    row = np.concatenate([batches(step).targets["labels"] for step in range(5)])
    assert sorted(row[:10]) == sorted(row[10:]) == list(range(10))
    assert list(row[:10]) != list(row[10:])


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 30), size=st.integers(1, 70), step=st.integers(0, 10**6), seed=st.integers(0, 2**31 - 1))
def test_a_batch_depends_on_seed_and_step_alone(count: int, size: int, step: int, seed: int) -> None:
    used, fresh = (_batches(count, size, seed, SHIFTED_AND_MIRRORED) for _ in range(2))
    for before in (0, step + 3, max(step - 1, 0)):
        used(before)
    for one, other in zip(used(step), fresh(step), strict=True):
        assert one.keys() == other.keys()
        for name, values in one.items():
            np.testing.assert_array_equal(values, other[name])


def test_another_seed_is_another_order() -> None:
    orders = {tuple(_batches(100, 100, seed)(0).targets["labels"]) for seed in range(5)}
    assert len(orders) == 5


def test_without_augmentation_images_are_as_they_are() -> None:
    images = _batches()(0).inputs["images"]
    np.testing.assert_array_equal(images, np.broadcast_to(PICTURE[None, :, :, None], images.shape))


def test_augmentation_shifts_and_mirrors_and_fills_with_the_mean() -> None:
    batches = _batches(count=400, batch_size=400, augmentation=SHIFTED_AND_MIRRORED)
    seen = set()
    for image in batches(0).inputs["images"]:
        np.testing.assert_array_equal(image[..., 0], image[..., 2])
        matches = [
            (dy, dx, mirrored)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            for mirrored in (False, True)
            if np.array_equal(image[..., 0], _moved(PICTURE, dy, dx, mirrored=mirrored))
        ]
        assert len(matches) == 1, "an augmented image is one shift of the original, mirrored or not"
        seen.update(matches)
    assert len(seen) == 5 * 5 * 2, "every shift appears, mirrored and not"


def _moved(picture: np.ndarray, dy: int, dx: int, *, mirrored: bool) -> np.ndarray:
    """The slow and obvious way: pad by 2, cut out a window, mirror it."""
    padded = np.pad(picture, 2, constant_values=99)
    window = padded[2 + dy : 8 + dy, 2 + dx : 7 + dx]
    return window[:, ::-1] if mirrored else window


def test_a_shift_by_more_than_the_picture_leaves_nothing_of_it() -> None:
    far = Augmentation(40, flip_left_right=True, fills={"images": 99})
    moved = _batches(count=100, batch_size=100, augmentation=far)(0).inputs["images"]
    assert (moved == 99).all(axis=(1, 2, 3)).mean() > 0.5
    assert not (moved == 99).all()


def test_half_of_the_images_are_mirrored() -> None:
    batches = _batches(count=1000, batch_size=1000, augmentation=MIRRORED)
    mirrored = (batches(0).inputs["images"][:, 0, 0, 0] == 4).sum()
    assert 430 < mirrored < 570


def test_a_mask_moves_as_its_image_and_other_columns_stay() -> None:
    images = np.broadcast_to(PICTURE[None, :, :, None], (60, 6, 5, 1)).copy()
    masks, reals = images[..., 0].astype(np.int32), np.random.default_rng(1).normal(size=(60, 3))
    rows = applications.examples(images=images, depth=images + 100, mask=masks, reals=reals)
    moving = Augmentation(2, flip_left_right=True, fills={"images": 99, "depth": 199, "mask": 99})
    batches = Batches(rows, ("images", "depth", "mask", "reals"), lambda read: Batch(read, {}), 60, 1, moving)
    moved = batches(0).inputs
    assert (moved["mask"] != masks).any()
    np.testing.assert_array_equal(moved["mask"], moved["images"][..., 0])
    np.testing.assert_array_equal(moved["depth"], moved["images"] + 100)
    np.testing.assert_array_equal(moved["reals"], reals[batches.index(0)])


def test_only_the_wanted_columns_are_read() -> None:
    rows = applications.examples(images=np.zeros((4, 2, 2, 1), np.uint8), notes=np.zeros((4, 9), np.float32))
    assert list(Batches(rows, ("images",), lambda read: Batch(read, {}), 2, 1)(0).inputs) == ["images"]


def test_prefetched_batches_come_in_order_and_once() -> None:
    batches = _batches()
    with Prefetch(batches, 3, 40) as made:
        seen = [(step, tuple(batch.targets["labels"])) for step, batch in made]
    assert seen == [(step, tuple(batches(step).targets["labels"])) for step in range(3, 40)]


def test_prefetch_raises_the_error_of_making_a_batch() -> None:
    batches = _batches()

    def make(step: int) -> Batch:
        if step == 5:
            raise MemoryError("no space for a batch")
        return batches(step)

    with Prefetch(make, 0, 40) as made, pytest.raises(MemoryError, match="no space"):
        list(made)


def test_prefetch_that_is_left_early_leaves_no_thread() -> None:
    asked = []

    def make(step: int) -> Batch:
        asked.append(step)
        return _batches()(0)

    with Prefetch(make, 0, 10**9) as made:
        next(iter(made))
    count = len(asked)
    with Prefetch(make, 0, 0):
        pass
    assert len(asked) == count


def test_of_large_batches_fewer_are_made_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = _batches()
    batch_bytes = sum(each.nbytes for arrays in batches(0) for each in arrays.values())
    monkeypatch.setattr(prefetch, "_AHEAD_BYTES", 2 * batch_bytes)
    taken: list[int] = []
    most_ahead: list[int] = []
    second_is_made = threading.Event()

    def make(step: int) -> Batch:
        most_ahead.append(step - len(taken))
        if step == 1:
            second_is_made.set()
        return batches(step)

    with Prefetch(make, 0, 40) as made:
        for step, _ in made:
            assert second_is_made.wait(60)
            taken.append(step)
    assert taken == list(range(40))
    assert 1 <= max(most_ahead) <= 2
