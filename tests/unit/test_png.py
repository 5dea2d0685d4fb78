"""Small pictures as PNG files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from qatbuild.worker import png


@pytest.mark.parametrize("shape", [(8, 8, 1), (40, 40, 3), (1, 5, 3)])
def test_a_picture_is_read_back_as_it_was(shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(png.encoded(picture))) as read:
        assert np.array_equal(np.asarray(read).reshape(shape), picture)


def test_a_large_picture_shrinks_by_means_of_whole_blocks() -> None:
    picture = np.zeros((96, 64, 1), np.uint8)
    picture[:3, :3] = 90
    small = png.shrunk(picture, 40)
    assert small.shape == (32, 21, 1)
    assert small[0, 0] == 90
    assert small[1:].max() == 0


@pytest.mark.parametrize("shape", [(3, 500, 3), (500, 1, 1), (7, 7, 3), (41, 40, 1)])
def test_no_side_is_longer_than_wanted(shape: tuple[int, ...]) -> None:
    assert max(png.shrunk(np.ones(shape, np.uint8), 40).shape[:2]) <= 40


def test_only_grey_and_rgb_bytes_are_pictures() -> None:
    assert png.can_encode("uint8", (8, 8, 1))
    assert png.can_encode("uint8", (8, 8, 3))
    for dtype, shape in [("float32", (8, 8, 3)), ("uint8", (8, 8, 4)), ("uint8", (8, 8)), ("uint8", (0, 8, 1))]:
        assert not png.can_encode(dtype, shape)


def test_a_picture_of_more_than_one_block_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        png.encoded(np.zeros((300, 300, 1), np.uint8))
