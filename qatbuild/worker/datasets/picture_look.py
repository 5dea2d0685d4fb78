"""What the headers of pictures say: how many have each size and colour, and so the shape of their column."""

from __future__ import annotations

from collections import Counter

from qatbuild.exchange.decoding import Decoding
from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets.pictures import Header
from qatbuild.worker.datasets.source import Source

_CHANNELS = {"grey": 1, "rgb": 3}
_SHOWN = 5


class Look:
    """The sizes and colours of a column's pictures."""

    def __init__(self) -> None:
        """Begins without a picture."""
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._first: dict[tuple[int, int], str] = {}
        self._has_colour = False

    def add(self, header: Header, name: object) -> None:
        """Adds a picture."""
        size = header.height, header.width
        self._sizes[size] += 1
        if size not in self._first:
            self._first[size] = str(name)
        self._has_colour |= not header.grey

    def shape(self, source: Source) -> tuple[int, int, int]:
        """Returns [height, width, channels]: of `source`, or what all have in common; DatasetError if they differ.

        Without `color` there is one channel if all pictures are grey.
        """
        channels = _CHANNELS[source.color] if source.color else 3 if self._has_colour else 1
        if source.size is not None:
            return (*source.size, channels)
        if len(self._sizes) == 1:
            return (*next(iter(self._sizes)), channels)
        if not self._sizes:
            raise DatasetError("All pictures are damaged.", [("dataset.path", source.path)])
        raise self._differ(source)

    def _differ(self, source: Source) -> DatasetError:
        common = self._sizes.most_common()
        facts: list[tuple[str, object]] = [
            (f"{height}x{width}", f"{count} pictures, such as {self._first[height, width]}")
            for (height, width), count in common[:_SHOWN]
        ]
        if len(common) > _SHOWN:
            facts.append(("others", f"{len(common) - _SHOWN} more sizes"))
        return DatasetError(
            "The pictures differ in size (height x width).",
            [("dataset.path", source.path), *facts],
            'Give "size": [height, width], to which they are scaled, and perhaps "resize": "crop", "stretch" or "pad".',
        )


def decoding(source: Source) -> Decoding:
    """Returns how the pictures of a source are decoded."""
    return Decoding(source.resize if source.size else None, source.background)
