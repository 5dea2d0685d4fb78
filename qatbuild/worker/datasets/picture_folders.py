"""Where pictures lie: SPLIT/CLASS/picture or CLASS/picture; without labels in any folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets.picture_list import Listed, PictureList
from qatbuild.worker.datasets.source import Source, split_names

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
}
"""The folders of the splits where the spec does not name them."""

HINT = (
    "Lay the pictures out as train/<class>/*.png and test/<class>/*.png (or .jpg, .bmp, .webp, .gif, .tif), or as"
    ' <class>/*.png without a test; "splits" names other folders, "table" a CSV file of names and classes.'
)


def listed(source: Source, folder: Path) -> tuple[Listed, tuple[str, ...]]:
    """Returns the pictures of each split and the names of the classes, () without labels; sorted by class, then names.

    Classes are the folders of the training pictures; another split may have no others. Hidden files are passed over.
    DatasetError with the file or folder.
    """
    places = _places(source, folder)
    if not source.labels:
        return {split: _all_below(place, source) for split, place in places.items()}, ()
    classes = tuple(_classes(places["train"]))
    splits = {}
    for split, place in places.items():
        pictures = PictureList(place, classes)
        for name in _classes(place):
            if name not in classes:
                expected = f"one of {', '.join(classes)}"
                raise fault(place / name, "the class has no training images", "", expected)
            for file in _pictures(place / name, source):
                pictures.add(file, classes.index(name))
        splits[split] = pictures
    return splits, classes


def _places(source: Source, folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise fault(folder, "it is not a folder", "a file", "a folder of pictures")
    places = {}
    for split, spellings in split_names(source, FOLDERS).items():
        present = [folder / name for name in spellings if (folder / name).is_dir()]
        if present:
            places[split] = present[0]
        elif spellings and (source.splits or {}).get(split) not in (None, *FOLDERS[split]):
            raise fault(folder / spellings[0], "the folder is missing", "", "the folder that dataset.splits names")
    if places and "train" not in places:
        raise fault(folder / FOLDERS["train"][0], "the folder is missing", "", "a folder with a folder for each class")
    return places or {"train": folder}


def _classes(folder: Path) -> list[str]:
    entries = [folder / name for name in visible(folder)]
    for entry in entries:
        if not entry.is_dir():
            raise fault(entry, "a file lies among the classes", "a file", "a folder for each class")
        if entry.name.splitlines() != [entry.name]:
            raise fault(entry, "the class's name is not one line of text", repr(entry.name), "a name in one line")
    if not entries:
        raise fault(folder, "it holds no class", "nothing", "a folder for each class")
    return [entry.name for entry in entries]


def _pictures(folder: Path, source: Source) -> Iterator[str]:
    names = visible(folder)
    if not names:
        raise fault(folder, "the class has no pictures", "nothing", f"files that end in {', '.join(ENDINGS)}")
    for name in names:
        if is_picture(str(folder), name, source):
            yield name


def is_picture(folder: str, name: str, source: Source) -> bool:
    """Returns whether a file's name is that of a picture, or the file is to be opened anyway and left out if damaged.

    Of text, not Paths: these keep every name in a table for as long as its folder is read.
    """
    place, ending = os.path.join(folder, name), os.path.splitext(name)[1]  # noqa: PTH118, PTH122
    is_file = os.path.isfile(place)  # noqa: PTH113
    if is_file and (source.skip_damaged or ending.lower() in ENDINGS):
        return True
    ends = f"files that end in {', '.join(ENDINGS)}"
    raise fault(Path(place), "it is not a picture", ending or "no ending" if is_file else "a folder", ends)


def _all_below(folder: Path, source: Source) -> PictureList:
    pictures = PictureList(folder)
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            if is_picture(place, name, source):
                pictures.add(os.path.relpath(os.path.join(place, name), folder))  # noqa: PTH118
    if not len(pictures):
        raise fault(folder, "it holds no picture", "nothing", f"files that end in {', '.join(ENDINGS)}")
    return pictures


def visible(folder: Path) -> list[str]:
    """Returns the names in a folder, sorted, without the hidden ones."""
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208  Many.


def fault(file: Path, what: str, got: str, expected: str) -> DatasetError:
    """Returns the error for a file or folder that is not as pictures lie."""
    facts = [("file", file), ("found", got or "missing"), ("expected", expected)]
    return DatasetError(f"The pictures cannot be used: {what}.", facts, HINT)
