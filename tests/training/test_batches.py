"""Order and augmentation are functions of (seed, step)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qatbuild.worker.training.batches import Augmentation, Batch, Batches
from qatbuild.worker.training.prefetch import Prefetch

SHIFTED_AND_MIRRORED = Augmentation(2, flip_left_right=True, fill=99)


def _batches(count: int = 10, batch_size: int = 4, seed: int = 1, augmentation: Augmentation | None = None) -> Batches:
    # Pixel (y, x) of every channel is 10 y + x: so a pixel's value says where it came from.
    picture = np.add.outer(10 * np.arange(6), np.arange(5)).astype(np.uint8)
    images = np.broadcast_to(picture[None, :, :, None], (count, 6, 5, 3)).copy()
    return Batches(images, np.arange(count, dtype=np.int32), batch_size, seed, augmentation or Augmentation())


def test_each_epoch_shows_every_example_once_in_another_order() -> None:
    batches = _batches(count=10, batch_size=4)
    row = np.concatenate([batches(step).labels for step in range(5)])
    assert sorted(row[:10]) == sorted(row[10:]) == list(range(10))
    assert list(row[:10]) != list(row[10:])


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 30), size=st.integers(1, 70), step=st.integers(0, 10**6), seed=st.integers(0, 2**31 - 1))
def test_a_batch_depends_on_seed_and_step_alone(count: int, size: int, step: int, seed: int) -> None:
    used, fresh = (_batches(count, size, seed, SHIFTED_AND_MIRRORED) for _ in range(2))
    for before in (0, step + 3, max(step - 1, 0)):
        used(before)
    for one, other in zip(used(step), fresh(step), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_is_another_order() -> None:
    orders = {tuple(_batches(100, 100, seed)(0).labels) for seed in range(5)}
    assert len(orders) == 5


def test_without_augmentation_images_are_as_they_are() -> None:
    batches = _batches()
    np.testing.assert_array_equal(batches(0).images, batches.images[:4])


def test_augmentation_shifts_and_mirrors_and_fills_with_the_mean() -> None:
    batches = _batches(count=400, batch_size=400, augmentation=SHIFTED_AND_MIRRORED)
    seen = set()
    for image in batches(0).images:
        np.testing.assert_array_equal(image[..., 0], image[..., 2])
        matches = [
            (dy, dx, mirrored)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            for mirrored in (False, True)
            if np.array_equal(image[..., 0], _moved(batches.images[0, ..., 0], dy, dx, mirrored=mirrored))
        ]
        assert len(matches) == 1, "an augmented image is one shift of the original, mirrored or not"
        seen.update(matches)
    assert len(seen) == 5 * 5 * 2, "every shift appears, mirrored and not"


def _moved(picture: np.ndarray, dy: int, dx: int, *, mirrored: bool) -> np.ndarray:
    """The slow and obvious way: pad by 2, cut out a window, mirror it."""
    padded = np.pad(picture, 2, constant_values=99)
    window = padded[2 + dy : 8 + dy, 2 + dx : 7 + dx]
    return window[:, ::-1] if mirrored else window


def test_half_of_the_images_are_mirrored() -> None:
    batches = _batches(count=1000, batch_size=1000, augmentation=Augmentation(flip_left_right=True))
    mirrored = (batches(0).images[:, 0, 0, 0] == 4).sum()
    assert 430 < mirrored < 570


def test_prefetched_batches_come_in_order_and_once() -> None:
    batches = _batches()
    with Prefetch(batches, 3, 40) as made:
        seen = [(step, tuple(batch.labels)) for step, batch in made]
    assert seen == [(step, tuple(batches(step).labels)) for step in range(3, 40)]


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
