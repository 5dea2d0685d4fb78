"""Pictures in files: a folder for each class, or a table of names and classes; of any size and colour mode."""

from __future__ import annotations

import os
from pathlib import Path

from qatbuild.exchange.decoding import Decoding
from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import console
from qatbuild.worker.datasets import LABELS, Dataset, picture_folders, picture_table
from qatbuild.worker.datasets.picture_list import Classes, Listed, PictureList
from qatbuild.worker.datasets.picture_look import Look, decoding
from qatbuild.worker.datasets.pictures import PictureError, Pictures, header
from qatbuild.worker.datasets.rows import Rows
from qatbuild.worker.datasets.source import Source
from qatbuild.worker.datasets.store import damaged

IMAGES = "images"


def load(source: Source, downloads: Path) -> Dataset:  # noqa: ARG001
    """Loads the pictures below `source.path`, uint8 [n, height, width, channels], and their classes.

    One channel if `color` is grey, or if all pictures are; else three. Without `size` all must have one size. The order
    is by class, then by file name, or the table's. All headers are read here; the pictures themselves when they are
    written.

    Raises DatasetError with the file; also if Pillow is not installed, or for a `url`.
    """
    if source.path is None:
        raise DatasetError(
            "The dataset images needs a folder.",
            [("dataset.path", "missing"), ("dataset.url", source.url or "missing")],
            'Give "path": it cannot be downloaded. ' + picture_folders.HINT,
        )
    if source.table is not None:
        splits, classes = picture_table.listed(source, source.path, source.path / source.table)
    else:
        splits, classes = picture_folders.listed(source, source.path)
    look, file_bytes = _look(splits, source)
    shape, how = look.shape(source), decoding(source)
    columns: dict[str, dict[str, Rows | Pictures]] = {}
    for split, files in splits.items():
        columns[split] = {IMAGES: _pictures(files, shape, how, file_bytes[split], source)}
        if source.labels:
            columns[split][LABELS] = Classes(files)
    return Dataset(columns, {LABELS: classes} if source.labels else {})


def _pictures(files: PictureList, shape: tuple[int, ...], how: Decoding, size: int, source: Source) -> Pictures:
    def content(number: int) -> bytes:
        try:
            with open(files.file(number), "rb") as stream:  # noqa: PTH123
                return stream.read()
        except OSError as fault:
            raise PictureError(str(fault)) from fault

    def place(number: int) -> list[tuple[str, object]]:
        return [("file", files.path(number))]

    def name(number: int) -> str:
        return files.path(number).relative_to(source.path or files.folder).as_posix()

    return Pictures(shape, how, len(files), size, content, place, name, source.skip_damaged)


def _look(splits: Listed, source: Source) -> tuple[Look, dict[str, int]]:
    """Reads all headers; returns also the bytes of each split's files."""
    look = Look()
    file_bytes = dict.fromkeys(splits, 0)
    with console.bar(total=sum(map(len, splits.values())), desc="headers", unit="picture") as bar:
        for split, files in splits.items():
            for file in files:
                bar.update()
                try:
                    with open(file, "rb") as stream:  # noqa: PTH123
                        look.add(header(stream), file)
                        file_bytes[split] += os.fstat(stream.fileno()).st_size
                except (PictureError, OSError) as fault:
                    if not source.skip_damaged:
                        raise damaged([("file", file)], str(fault)) from fault
    return look, file_bytes
