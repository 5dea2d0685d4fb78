"""A folder of pictures for each class: train/<class>/*.png and test/<class>/*.png (or .jpg)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
from tqdm import tqdm

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import console
from qatbuild.worker.datasets import Dataset, Images, Labels
from qatbuild.worker.datasets.archive import DAMAGE

ENDINGS = (".png", ".jpg", ".jpeg")

_CHANNELS = {"L": 1, "RGB": 3}
_HINT = "Lay the pictures out as train/<class>/*.png and test/<class>/*.png (or .jpg), all of one size and colour mode."


def load(path: Path | None, url: str | None, sha256: str | None, downloads: Path) -> Dataset:  # noqa: ARG001
    """Load the pictures below `path`, uint8 [n, height, width, channels]: one channel if they are grey, three if RGB.

    Classes are the folders of `train`, sorted by name; `test` may have no others. The order is by class, then by file
    name. Hidden files are skipped. Pictures with a palette, transparency or more than 8 bits are refused, because
    a conversion would change their values. JPEG pictures are rotated by their Exif orientation, and their bytes depend
    on Pillow's decoder; PNG is exact.

    Raises DatasetError with the file; also if Pillow is not installed, or for a `url`.
    """
    if path is None:
        raise DatasetError(
            "The dataset images needs a folder.",
            [("dataset.path", "missing"), ("dataset.url", url or "missing")],
            'Give "path": it cannot be downloaded. ' + _HINT,
        )
    pillow = _pillow()
    train = _files(path, "train")
    test = _files(path, "test")
    foreign = [name for name in test if name not in train]
    if foreign:
        raise _fault(path / "test" / foreign[0], "the class has no training images", "", f"one of {', '.join(train)}")
    first = next(file for files in train.values() for file in files)
    shape = _pixels(pillow, first).shape
    train_images, train_labels = _read(pillow, train, list(train), first, shape)
    test_images, test_labels = _read(pillow, test, list(train), first, shape)
    return Dataset(train_images, train_labels, test_images, test_labels, tuple(train))


def _pillow() -> ModuleType:
    try:
        import PIL.Image  # noqa: PLC0415 - only this dataset needs Pillow
        import PIL.ImageOps  # noqa: PLC0415
    except ImportError as fault:
        raise DatasetError(
            "Pictures are read with Pillow, which is not installed.", [("reason", fault)], "pip install pillow"
        ) from fault
    pillow: ModuleType = PIL
    return pillow


def _files(path: Path, split: str) -> dict[str, list[Path]]:
    """Return class name -> its pictures, both sorted by name."""
    folder = path / split
    if not folder.is_dir():
        raise _fault(folder, "the folder is missing", "", "a folder with a folder for each class")
    classes = {entry.name: list(_pictures(entry)) for entry in _visible(folder)}
    if not classes:
        raise _fault(folder, "it holds no class", "nothing", "a folder for each class")
    return classes


def _pictures(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise _fault(folder, "a file lies among the classes", "a file", "a folder for each class")
    if folder.name.splitlines() != [folder.name]:
        raise _fault(folder, "the class's name is not one line of text", repr(folder.name), "a name in one line")
    files = _visible(folder)
    if not files:
        raise _fault(folder, "the class has no pictures", "nothing", f"files that end in {', '.join(ENDINGS)}")
    for file in files:
        if file.suffix.lower() not in ENDINGS or not file.is_file():
            raise _fault(file, "it is not a picture", file.suffix, f"files that end in {', '.join(ENDINGS)}")
        yield file


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _read(
    pillow: ModuleType, files: dict[str, list[Path]], classes: list[str], first: Path, shape: tuple[int, ...]
) -> tuple[Images, Labels]:
    """Read one split, uint8 [n, *shape] and int32 [n]; every picture must have the shape of `first`."""
    rows = [(file, classes.index(name)) for name, pictures in files.items() for file in pictures]
    images = np.empty((len(rows), *shape), np.uint8)
    for index, (file, _) in enumerate(tqdm(rows, desc="pictures", unit="file", **console.bar())):
        pixels = _pixels(pillow, file)
        if pixels.shape != shape:
            got, expected = (f"{h}x{w}x{c}" for h, w, c in (pixels.shape, shape))
            raise _fault(
                file, "it differs in size or colour", got, f"{expected} (height x width x channels), as {first}"
            )
        images[index] = pixels
    return images, np.array([label for _, label in rows], np.int32)


def _pixels(pillow: ModuleType, file: Path) -> Images:
    """Read one picture, uint8 [height, width, 1 or 3]."""
    try:
        with pillow.Image.open(file) as picture:
            mode = picture.mode
            if mode in _CHANNELS:
                pixels = np.asarray(pillow.ImageOps.exif_transpose(picture))
                return pixels.reshape(*pixels.shape[:2], _CHANNELS[mode])
    except (*DAMAGE, pillow.Image.DecompressionBombError) as fault:
        raise _fault(
            file, "it is damaged, or not a picture", str(fault) or type(fault).__name__, "a whole PNG or JPEG file"
        ) from fault
    raise _fault(
        file, "its colour mode is not supported", mode, "8-bit grey (L) or RGB, without palette or transparency"
    )


def _fault(file: Path, what: str, got: str, expected: str) -> DatasetError:
    facts = [("file", file), ("found", got or "missing"), ("expected", expected)]
    return DatasetError(f"The pictures cannot be used: {what}.", facts, _HINT)
