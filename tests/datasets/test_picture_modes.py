"""What Pillow reads becomes bytes of one mode and size, by rules that are written down, and is counted."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qatbuild.exchange.decoding import Decoding
from qatbuild.worker.datasets import pictures
from qatbuild.worker.datasets.pictures import PictureError, decode, header

AS_IT_IS = Decoding()
RED, BLUE = (255, 0, 0), (0, 0, 255)


def encoded(picture: Image.Image, ending: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, ending, **options)
    return stream.getvalue()


def bytes_of(content: bytes, shape: tuple[int, ...], decoding: Decoding = AS_IT_IS) -> tuple[np.ndarray, list[str]]:
    picture, changes = decode(content, shape, decoding)
    values = pictures.pixels(picture)
    assert values.shape == shape
    assert values.dtype == np.uint8
    return values, changes


def two_halves(size: tuple[int, int] = (8, 4)) -> Image.Image:
    """Red on the left, blue on the right; size is width, height."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, size[0], size[1]))
    return picture


@pytest.mark.parametrize("ending", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_are_taken_as_they_are(ending: str) -> None:
    values, changes = bytes_of(encoded(two_halves(), ending), (4, 8, 3))
    assert changes == []
    assert np.array_equal(values, np.asarray(two_halves()))


def test_webp_and_jpeg_are_taken() -> None:
    for content in (encoded(two_halves((32, 32)), "JPEG", quality=95), encoded(two_halves((32, 32)), "WEBP")):
        values, changes = bytes_of(content, (32, 32, 3))
        assert changes == []
        assert abs(values[16, 4].astype(int) - RED).max() < 12


def test_palette_is_looked_up() -> None:
    content = encoded(two_halves().quantize(2))
    assert bytes_of(content, (4, 8, 3))[1] == ["palette to RGB"]
    assert bytes_of(content, (4, 8, 3))[0][0, 7].tolist() == list(BLUE)


def test_transparency_lies_over_the_background() -> None:
    picture = Image.new("RGBA", (2, 1), (100, 200, 0, 255))
    picture.putpixel((1, 0), (100, 200, 0, 0))
    values, changes = bytes_of(encoded(picture), (1, 2, 3), Decoding(None, (1, 2, 3)))
    assert values.tolist() == [[[100, 200, 0], [1, 2, 3]]]
    assert changes == ["transparency over the background"]
    half = Image.new("LA", (1, 1), (200, 128))
    assert bytes_of(encoded(half), (1, 1, 1))[0][0, 0, 0] in (100, 101)
    transparent = encoded(two_halves().quantize(2), transparency=0)
    assert bytes_of(transparent, (4, 8, 3), Decoding(None, (9, 9, 9)))[0].min(axis=(0, 1)).tolist() != [0, 0, 0]


def test_sixteen_bits_are_scaled_to_eight_and_rounded() -> None:
    values = np.array([[0, 128, 129, 257, 65535, 65406, 65407]], np.uint16)
    content = encoded(Image.fromarray(values))
    got, changes = bytes_of(content, (1, 7, 1))
    assert got.reshape(-1).tolist() == [0, 0, 1, 1, 255, 254, 255]
    assert changes == ["16 bit to 8"]
    assert header(content).grey
    assert np.array_equal(bytes_of(encoded(Image.fromarray(values), "TIFF"), (1, 7, 1))[0], got)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_of_thirty_two_bits_are_refused(mode: str) -> None:
    with pytest.raises(PictureError, match="32 bits"):
        bytes_of(encoded(Image.new(mode, (2, 2), 70000), "TIFF"), (2, 2, 1))


def test_cmyk_becomes_rgb_and_black_and_white_grey() -> None:
    values, changes = bytes_of(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"), (8, 8, 3))
    assert values[0, 0].tolist() == list(RED)
    assert changes == ["CMYK to RGB"]
    values, changes = bytes_of(encoded(Image.new("1", (2, 2), 1)), (2, 2, 1))
    assert values[0, 0].tolist() == [255]
    assert changes == ["black and white to grey"]


def test_grey_among_colours_is_repeated_and_colours_become_their_luma() -> None:
    values, changes = bytes_of(encoded(Image.new("L", (2, 2), 77)), (2, 2, 3))
    assert (values[0, 0].tolist(), changes) == ([77] * 3, ["grey to RGB"])
    values, changes = bytes_of(encoded(two_halves()), (4, 8, 1))
    assert ([values[0, 0, 0], values[0, 7, 0]], changes) == ([76, 29], ["colour to grey"])


def test_exif_turns_a_picture_before_its_size_is_looked_at() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was held upright: turn by 90 degrees clockwise.
    content = encoded(two_halves((64, 32)), "JPEG", quality=95, exif=exif)
    assert header(content)[:2] == (64, 32)
    values, changes = bytes_of(content, (64, 32, 3))
    assert changes == ["turned upright by Exif"]
    assert values[8, 16].argmax() == 0  # red above
    assert values[56, 16].argmax() == 2


def test_the_first_frame_of_an_animation_is_taken() -> None:
    content = encoded(two_halves(), "GIF", save_all=True, append_images=[Image.new("RGB", (8, 4), BLUE)])
    values, changes = bytes_of(content, (4, 8, 3))
    assert values[0, 0].tolist() == list(RED)
    assert "the first of several frames" in changes


def test_crop_takes_the_middle_of_the_picture_scaled_to_cover_the_size() -> None:
    wide = Image.new("RGB", (12, 4))
    wide.paste(RED, (4, 0, 8, 4))
    values, changes = bytes_of(encoded(wide), (2, 2, 3), Decoding("crop"))
    whole = np.asarray(wide.resize((6, 2), Image.Resampling.BILINEAR))
    assert np.array_equal(values, whole[:, 2:4])
    assert changes == ["resized (crop)"]


def test_stretch_takes_the_whole_picture() -> None:
    values, _ = bytes_of(encoded(two_halves((16, 4))), (4, 4, 3), Decoding("stretch"))
    assert values[0, 0].tolist() == list(RED)
    assert values[0, 3].tolist() == list(BLUE)


def test_pad_fits_the_whole_picture_into_the_size_on_the_background() -> None:
    values, _ = bytes_of(encoded(two_halves((16, 8))), (8, 8, 3), Decoding("pad", (1, 2, 3)))
    assert values[0, 0].tolist() == values[7, 7].tolist() == [1, 2, 3]
    assert values[4, 0].tolist() == list(RED)
    assert values[4, 7].tolist() == list(BLUE)


def test_a_picture_of_the_size_is_not_resampled() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8))
    for resize in ("crop", "stretch", "pad"):
        values, changes = bytes_of(encoded(noise), (5, 7, 3), Decoding(resize))
        assert changes == []
        assert np.array_equal(values, np.asarray(noise))


def test_a_large_jpeg_is_reduced_while_it_is_decoded_to_nearly_the_same_picture() -> None:
    ramp = Image.linear_gradient("L").resize((1024, 768)).convert("RGB")
    values, _ = bytes_of(encoded(ramp, "JPEG", quality=95), (48, 64, 3), Decoding("crop"))
    wanted = np.asarray(ramp.resize((64, 48), Image.Resampling.BILINEAR))
    assert np.abs(values.astype(int) - wanted).max() <= 3


def test_without_resize_another_size_is_refused() -> None:
    with pytest.raises(PictureError, match="4x8, and the others are 4x4"):
        bytes_of(encoded(two_halves()), (4, 4, 3))


@pytest.mark.parametrize("content", [b"", b"<html>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n"])
def test_what_is_no_picture_is_refused_and_no_program_is_run_for_it(content: bytes) -> None:
    for read in (header, lambda each: decode(each, (1, 1, 3), Decoding())):
        with pytest.raises(PictureError, match="not a picture"):
            read(content)
