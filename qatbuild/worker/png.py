"""Small pictures as PNG files (ISO/IEC 15948), without compression: equal bytes whatever zlib is installed."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH = 8
_COLOUR_TYPES = {1: 0, 3: 2}
"""Channels of a picture -> PNG's colour type: grey, RGB."""

_ZLIB_HEADER, _LAST_BLOCK = b"\x78\x01", b"\x01"
_MOST_BYTES = 0xFFFF
"""Bytes of a block that is not compressed."""


def can_encode(dtype: str, shape: tuple[int, ...]) -> bool:
    """Returns whether arrays [height, width, channels] of a type and shape are pictures: bytes, grey or RGB."""
    rank = 3
    return dtype == "uint8" and len(shape) == rank and shape[-1] in _COLOUR_TYPES and 0 not in shape


def shrunk(picture: NDArray[np.uint8], most_px: int) -> NDArray[np.uint8]:
    """Returns a picture [height, width, channels] with sides of at most `most_px`: means of square blocks of pixels."""
    height, width, channels = picture.shape
    block = -(-max(height, width) // most_px)
    rows, columns = max(1, height // block), max(1, width // block)
    down, across = min(block, height), min(block, width)
    blocks = picture[: rows * down, : columns * across].reshape(rows, down, columns, across, channels)
    return np.asarray(blocks.mean(axis=(1, 3)).round(), np.uint8)


def encoded(picture: NDArray[np.uint8]) -> bytes:
    """Returns a picture [height, width, channels] as a PNG; ValueError if it has more than 64 KiB."""
    height, width, channels = picture.shape
    header = struct.pack(">IIBBBBB", width, height, _BIT_DEPTH, _COLOUR_TYPES[channels], 0, 0, 0)
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # Each begins with the number of its filter.
    lines[:, 1:] = picture.reshape(height, -1)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", _stored(lines.tobytes())) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _stored(data: bytes) -> bytes:
    """Returns a zlib stream (RFC 1950) of one stored block (RFC 1951, section 3.2.4)."""
    if len(data) > _MOST_BYTES:
        raise ValueError(f"A picture of {len(data)} bytes is too large.")
    sizes = struct.pack("<HH", len(data), len(data) ^ _MOST_BYTES)
    return _ZLIB_HEADER + _LAST_BLOCK + sizes + data + struct.pack(">I", zlib.adler32(data))
