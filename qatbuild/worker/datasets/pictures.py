"""Pictures as bytes [height, width, channels]: what Pillow reads, turned upright, in one colour mode and one size.

One function decodes a picture, in the dataset stage as in every reader of encoded columns, so that all see the same
bytes. The order is: turn by Exif, 8 bits, transparency over the background, colour, size.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qatbuild.exchange.decoding import Decoding
from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets.archive import DAMAGE

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Pillow's readers of pictures; others run programs (EPS) or read what has no pixels."""

MODES = {1: "L", 3: "RGB"}
"""Pillow's modes by channels."""

_GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_ORIENTATION = 0x0112
_TURNED_BY_90_DEGREES = 5
_GAP = 2
"""A picture is first reduced in steps, JPEG while it is decoded, to no less than so many times the wanted size."""


@dataclass(frozen=True)
class Pictures:
    """A column of encoded pictures: files, or features of records.

    `shape` [height, width, channels] and `decoding` say how each becomes bytes. `size_bytes` is the length of all.
    `content(number)` returns the encoded bytes, called by several threads; `place(number)` rows for an error,
    `name(number)` a name within the data.
    """

    shape: tuple[int, ...]
    decoding: Decoding
    count: int
    size_bytes: int
    content: Callable[[int], bytes]
    place: Callable[[int], list[tuple[str, object]]]
    name: Callable[[int], str]
    skip_damaged: bool = False

    def __len__(self) -> int:
        return self.count


class Header(NamedTuple):
    """A picture's size when upright, and whether it has no colours."""

    height: int
    width: int
    grey: bool


class PictureError(Exception):
    """A picture cannot be read, or not be converted; the text says why."""


@cache
def pillow() -> ModuleType:
    """Returns Pillow with its readers; DatasetError if it is not installed."""
    try:
        import PIL.Image  # noqa: PLC0415 - only pictures need Pillow
        import PIL.ImageOps  # noqa: PLC0415
    except ImportError as fault:
        raise DatasetError(
            "Pictures are read with Pillow, which is not installed.", [("reason", fault)], "pip install pillow"
        ) from fault
    module: ModuleType = PIL
    module.Image.init()  # Threads must not do it at the same time.
    return module


def header(content: Any) -> Header:
    """Reads the header of a picture, bytes or an open file; PictureError."""
    try:
        with _opened(content) as picture:
            width, height = picture.size
            if _orientation(picture) >= _TURNED_BY_90_DEGREES:
                width, height = height, width
            return Header(height, width, picture.mode in _GREY)
    except _damage() as fault:
        raise PictureError(_reason(fault)) from fault


def decode(content: bytes, shape: tuple[int, ...], decoding: Decoding) -> tuple[Any, list[str]]:
    """Returns a picture of Pillow's in the shape [height, width, 1 or 3], and the conversions it took, in words.

    `decoding.resize`: None (the picture must have that size), "crop" (scaled to cover it, the middle is taken),
    "stretch", "pad" (scaled to fit into it, centred on the background). Scaling is bilinear with antialiasing.
    16-bit grey is divided by 257 and rounded. CMYK is converted without a colour profile, as Pillow does.

    Raises PictureError: damaged, of another format, larger than Pillow's limit, of another size, 32-bit values.
    """
    try:
        with _opened(content) as picture:
            changes: list[str] = []
            _draft(picture, shape, decoding)
            picture.load()
            if _orientation(picture) > 1:
                changes.append("turned upright by Exif")
                pillow().ImageOps.exif_transpose(picture, in_place=True)
            if picture.format in ("GIF", "WEBP", "TIFF", "PNG") and getattr(picture, "is_animated", False):
                changes.append("the first of several frames")
            plain = _coloured(picture, MODES[shape[-1]], decoding, changes)
            return _sized(plain, shape, decoding, changes), changes
    except _damage() as fault:
        raise PictureError(_reason(fault)) from fault


def pixels(picture: Any) -> npt.NDArray[np.uint8]:
    """Returns a decoded picture's bytes [height, width, channels]."""
    array = np.asarray(picture)
    return array if array.ndim == 3 else array[..., np.newaxis]  # noqa: PLR2004


def _opened(content: Any) -> Any:
    return pillow().Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS)


def _damage() -> tuple[type[BaseException], ...]:
    return (*DAMAGE, pillow().Image.DecompressionBombError)


def _reason(fault: BaseException) -> str:
    if isinstance(fault, pillow().UnidentifiedImageError):
        return "it is not a picture that Pillow reads, or it is damaged in its first bytes"
    return str(fault) or type(fault).__name__


def _orientation(picture: Any) -> int:
    """Returns Exif's orientation, 1..8; 1 is upright."""
    if picture.format == "JPEG" and "exif" not in picture.info:
        return 1  # Without it Pillow looks for XMP, too.
    turned = picture.getexif().get(_ORIENTATION, 1)
    return turned if turned in range(1, 9) else 1


def _draft(picture: Any, shape: tuple[int, ...], decoding: Decoding) -> None:
    """Lets a JPEG much larger than the wanted size be decoded at 1/2, 1/4 or 1/8."""
    if decoding.resize is None or picture.format not in ("JPEG", "MPO"):
        return
    height, width = shape[:2]
    if _orientation(picture) >= _TURNED_BY_90_DEGREES:
        height, width = width, height
    scales = width / picture.width, height / picture.height
    scale = max(scales)
    picture.draft(None, (round(picture.width * scale * _GAP), round(picture.height * scale * _GAP)))


def _coloured(picture: Any, mode: str, decoding: Decoding, changes: list[str]) -> Any:
    """Returns the picture in the mode L or RGB."""
    if ";16" in str(getattr(picture, "tile", "")) or picture.mode.startswith("I;16"):
        changes.append("16 bit to 8")
    plain = _eight_bits(picture)
    if plain.has_transparency_data:
        changes.append("transparency over the background")
        base = pillow().Image.new("RGBA", plain.size, (*decoding.background, 255))
        base.alpha_composite(plain.convert("RGBA"))
        grey, plain = plain.mode in _GREY and len(set(decoding.background)) == 1, base.convert("RGB")
        plain = plain.convert("L") if grey else plain
    elif plain.mode not in ("L", "RGB"):
        changes.append(f"{_WORDS.get(plain.mode, plain.mode)} to {'grey' if plain.mode == '1' else 'RGB'}")
        plain = plain.convert("L" if plain.mode == "1" else "RGB")
    if plain.mode != mode:
        changes.append("colour to grey" if mode == "L" else "grey to RGB")
        plain = plain.convert(mode)
    return plain


_WORDS = {"P": "palette", "PA": "palette", "1": "black and white"}


def _eight_bits(picture: Any) -> Any:
    if picture.mode in ("I", "F"):
        least, greatest = picture.getextrema()
        if picture.mode == "F" or picture.format not in ("PNG", "PPM") or least < 0 or greatest > np.iinfo("u2").max:
            raise PictureError(f"its values have 32 bits (mode {picture.mode}), and which one is white is not said")
    elif not picture.mode.startswith("I;16"):
        return picture
    values = np.asarray(picture).astype(np.uint32)
    return pillow().Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _sized(picture: Any, shape: tuple[int, ...], decoding: Decoding, changes: list[str]) -> Any:
    height, width = shape[:2]
    if decoding.resize is None:
        if picture.size != (width, height):
            got = f"{picture.height}x{picture.width}"
            raise PictureError(f"it is {got}, and the others are {height}x{width} (height x width)")
        return picture
    if picture.size == (width, height):
        return picture
    changes.append(f"resized ({decoding.resize})")
    if decoding.resize == "pad":
        return _padded(picture, (width, height), decoding.background)
    box = None if decoding.resize == "stretch" else _middle(picture.size, (width, height))
    return picture.resize((width, height), pillow().Image.Resampling.BILINEAR, box=box, reducing_gap=_GAP)


def _middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """Returns the largest box in the middle of `size` (width, height) with the proportions of `wanted`."""
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    width, height = wanted[0] * scale, wanted[1] * scale
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, min(left + width, size[0]), min(top + height, size[1])


def _padded(picture: Any, wanted: tuple[int, int], background: tuple[int, int, int]) -> Any:
    scale = min(wanted[0] / picture.width, wanted[1] / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    image = pillow().Image
    small = picture.resize(size, image.Resampling.BILINEAR, reducing_gap=_GAP)
    base = image.new("RGB", wanted, background).convert(picture.mode)
    base.paste(small, ((wanted[0] - size[0]) // 2, (wanted[1] - size[1]) // 2))
    return base
