"""How the pictures of a dataset become bytes, where they are stored encoded."""

from __future__ import annotations

from typing import NamedTuple


class Decoding(NamedTuple):
    """How encoded pictures become bytes: `resize` crop, stretch, pad or None (they have the size), and a background.

    The background (red, green, blue, 0..255) lies behind transparent pixels and beside padded pictures.
    """

    resize: str | None = None
    background: tuple[int, int, int] = (0, 0, 0)
