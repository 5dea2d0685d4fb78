"""A look at files of pictures: the headers of some, the pixels of fewer."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qatbuild.exchange.decoding import Decoding
from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.look import DataQuestion
from qatbuild.worker.datasets import picture_folders, picture_table
from qatbuild.worker.datasets.picture_list import Listed, PictureList
from qatbuild.worker.datasets.picture_look import decoding
from qatbuild.worker.datasets.pictures import Header, PictureError, decode, header, pixels
from qatbuild.worker.datasets.source import Source
from qatbuild.worker.look import layout
from qatbuild.worker.look.kinds import Place
from qatbuild.worker.look.sample import MOST_DECODED, Sample, every

_MOST_HEADERS = 2_000
_STEP_PX = 8
_PHOTOGRAPHS = frozenset({".heic", ".heif", ".avif", ".cr2", ".nef", ".dng"})
"""Endings of pictures that are not read."""


class PictureLook(NamedTuple):
    """Pictures by split, their classes, how a spec names them, and the pixels of a sample."""

    splits: Listed
    classes: Sequence[str]
    source: Source
    sample: Sample
    remarks: tuple[str, ...]


class _Headers(NamedTuple):
    """The headers of the pictures that were looked at by split and number, and the other files."""

    read: Sequence[tuple[PictureList, int, Header]]
    damaged: Sequence[Path]
    is_all: bool


def look_at_pictures(place: Place, question: DataQuestion) -> PictureLook:
    """Lists all pictures, looks at some; DatasetError if they do not lie as pictures do, or all are damaged."""
    table = str(place.table) if place.table else None
    names = None if table else layout.unusual(layout.split_folders(place.path))
    source = Source("images", place.path, labels=question.labels, table=table, splits=names)
    splits, classes, stray = _listed(source, place.path)
    headers = _headers(splits)
    if not headers.read:
        raise _all_damaged(place, headers)
    is_grey = all(each.grey for _, _, each in headers.read)
    size = _size(headers, question)
    source = source._replace(
        skip_damaged=stray or bool(headers.damaged),
        size=size,
        color=None if headers.is_all else "grey" if is_grey else "rgb",
    )
    _, _, first = headers.read[0]
    shape = (*(size or (first.height, first.width)), 1 if is_grey else 3)
    sample, broken = _sample(headers, shape, decoding(source))
    if not sample.examples:
        raise _all_damaged(place, headers)
    if broken and not source.skip_damaged:
        source = source._replace(skip_damaged=True)
    return PictureLook(splits, classes, source, sample, _remarks(headers, [*headers.damaged, *broken], size))


def _all_damaged(place: Place, headers: _Headers) -> DatasetError:
    endings = {file.suffix.lower() for file in headers.damaged}
    hint = "Save them as JPEG or PNG." if endings & _PHOTOGRAPHS else picture_folders.HINT
    facts = [("data", place.path), ("files", ", ".join(f"*{ending}" for ending in sorted(endings)))]
    return DatasetError("All pictures are damaged, or are no pictures.", facts, hint)


def _listed(source: Source, folder: Path) -> tuple[Listed, Sequence[str], bool]:
    """Returns the pictures, the classes, and whether files without a picture's name are among them."""
    try:
        return *_listing(source, folder), False
    except DatasetError:
        pass
    try:
        return *_listing(source._replace(skip_damaged=True), folder), True
    except DatasetError as error:
        reason = layout.obstacle(folder) if source.table is None and source.labels else None
        raise reason or error from error


def _listing(source: Source, folder: Path) -> tuple[Listed, Sequence[str]]:
    if source.table is not None:
        return picture_table.listed(source, folder, Path(source.table))
    return picture_folders.listed(source, folder)


def _headers(splits: Listed) -> _Headers:
    read, damaged, total = [], [], sum(map(len, splits.values()))
    for files in splits.values():
        for number in every(len(files), max(1, _MOST_HEADERS * len(files) // total)).tolist():
            try:
                with open(files.file(number), "rb") as stream:  # noqa: PTH123
                    read.append((files, number, header(stream)))
            except (PictureError, OSError):
                damaged.append(files.path(number))
    return _Headers(read, damaged, len(read) + len(damaged) == total)


def _size(headers: _Headers, question: DataQuestion) -> tuple[int, int] | None:
    """Returns the size to which pictures are brought; None if all have one that is not too large."""
    if question.size:
        return question.size[0], question.size[1]
    sizes = Counter((each.height, each.width) for _, _, each in headers.read)
    (height, width), *others = sizes
    if not others and max(height, width) <= question.most_px:
        return None if headers.is_all else (height, width)
    side = statistics.median_low(min(each.height, each.width) for _, _, each in headers.read)
    side = min(side, question.most_px)
    side = side if side < _STEP_PX else side // _STEP_PX * _STEP_PX
    return side, side


def _sample(headers: _Headers, shape: tuple[int, ...], how: Decoding) -> tuple[Sample, list[Path]]:
    """Returns the pixels of a sample, and the files that cannot be decoded."""
    sample, broken = Sample(shape), list[Path]()
    for place in every(len(headers.read), MOST_DECODED).tolist():
        files, number, _ = headers.read[place]
        file = files.path(number)
        try:
            sample.add(pixels(decode(file.read_bytes(), shape, how)[0])[np.newaxis])
        except (PictureError, OSError):
            broken.append(file)
    return sample, broken


def _remarks(headers: _Headers, left_out: Sequence[Path], size: tuple[int, int] | None) -> tuple[str, ...]:
    texts = []
    sizes = {(each.height, each.width) for _, _, each in headers.read}
    if len(sizes) > 1 and size:
        texts.append(f"the pictures have {len(sizes)} sizes: all become {size[0]}x{size[1]} (dataset.size)")
    greys = sum(each.grey for _, _, each in headers.read)
    if 0 < greys < len(headers.read):
        texts.append(f"{greys} of {len(headers.read)} pictures are grey: they become RGB (dataset.color)")
    if left_out:
        count = f"{len(left_out)} file{'' if len(left_out) == 1 else 's'}"
        texts.append(f"{count} cannot be read as pictures, such as {left_out[0].name}: left out (dataset.skip_damaged)")
    return tuple(texts)
