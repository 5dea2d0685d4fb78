"""Data sets as people have them: each a function that fills a folder and returns the path to give to `doit new`."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tests.hints import follows

SIZE = (12, 12)
"""Width and height of most pictures: the smallest shipped network takes them."""

_ORIENTATION = 0x0112


def picture(number: int, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    """A picture of noise, the same for the same number."""
    values = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(values).convert(mode)


def folders(root: Path, counts: Mapping[str, int], ending: str = "png") -> Path:
    """Folders of RGB pictures, so many in each."""
    number = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            picture(number).save(root / name / f"{number}.{ending}")
            number += 1
    return root


def mixed_sizes(root: Path) -> Path:
    folders(root, {"cats": 12, "dogs": 12})
    for number in range(8):
        picture(number, (13 + number, 30)).save(root / "cats" / f"tall{number}.png")
    return root


def large_photographs(root: Path) -> Path:
    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)
        for number in range(4):
            picture(number, (640, 480)).save(root / name / f"{number}.jpg")
    return root


def grey_among_rgb(root: Path) -> Path:
    folders(root, {"cats": 12, "dogs": 12})
    picture(1, mode="L").save(root / "cats" / "grey.png")
    return root


def rgba(root: Path) -> Path:
    folders(root, {"cats": 12, "dogs": 12})
    transparent = picture(1, mode="RGBA")
    transparent.putalpha(100)
    transparent.save(root / "dogs" / "logo.png")
    return root


def sixteen_bit(root: Path) -> Path:
    for name in ("cracked", "whole"):
        (root / name).mkdir(parents=True)
        for number in range(12):
            values = np.random.default_rng(number).integers(0, 65536, SIZE, np.uint16)
            Image.fromarray(values).save(root / name / f"{number}.png")
    return root


def cmyk(root: Path) -> Path:
    folders(root, {"cats": 12, "dogs": 12}, "jpg")
    picture(1, mode="CMYK").save(root / "cats" / "print.jpg")
    return root


def turned_by_exif(root: Path) -> Path:
    folders(root, {"cats": 12, "dogs": 12}, "jpg")
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    picture(1, (12, 18)).save(root / "cats" / "phone.jpg", exif=exif)
    return root


def odd_names(root: Path) -> Path:
    folders(root, {"chat noir": 10, 'Käse\'s "Größe"': 10, "日本": 10, "$comment": 10})
    picture(1).save(root / "chat noir" / "IMG 0001 (copy).PNG", "PNG")
    return root


def a_text_among_pictures(root: Path) -> Path:
    folders(root, {"cats": 12, "dogs": 12})
    (root / "cats" / "notes.txt").write_text("taken in May")
    return root


def damaged_files(root: Path) -> Path:
    folders(root, {"cats": 12, "dogs": 12})
    (root / "cats" / "empty.png").write_bytes(b"")
    whole = (root / "dogs" / "12.png").read_bytes()
    (root / "dogs" / "half.png").write_bytes(whole[: len(whole) // 2])
    return root


def three_pictures(root: Path) -> Path:
    return folders(root, {"cats": 2, "dogs": 1})


def unbalanced(root: Path) -> Path:
    return folders(root, {"broken": 4, "fine": 80})


def splits_of_their_own(root: Path) -> Path:
    for split, count in (("train", 10), ("val", 4), ("test", 6)):
        folders(root / split, {"cats": count, "dogs": count})
    return root


def webp_and_palettes(root: Path) -> Path:
    folders(root, {"cats": 6, "dogs": 6})
    picture(1).quantize(8).save(root / "cats" / "palette.gif")
    picture(2).save(root / "dogs" / "new.webp")
    return root


def a_table(root: Path) -> Path:
    folders(root, {"photographs": 24})
    with (root / "labels.csv").open("w", newline="") as file:
        rows = [[each.name, "cat" if number % 2 else "dog"] for number, each in enumerate(pictures_of(root))]
        csv.writer(file).writerows([["name", "label"], *rows])
    return root / "labels.csv"


def pictures_of(root: Path) -> list[Path]:
    return sorted(root.rglob("*.png"))


def arrays(root: Path, **replaced: Any) -> Path:
    """An .npz file of 40 pictures with a test split; some arrays replaced."""
    root.mkdir()
    random = np.random.default_rng(1)
    images, labels = random.integers(0, 256, (50, 12, 12, 3), np.uint8), np.arange(50) % 3
    split = {"train_images": images[:40], "train_labels": labels[:40]}
    np.savez(root / "data.npz", **{**split, "test_images": images[40:], "test_labels": labels[40:], **replaced})
    return root / "data.npz"


def float_images(root: Path) -> Path:
    random = np.random.default_rng(1).random((50, 12, 12, 1), np.float32)
    return arrays(root, train_images=random[:40], test_images=random[40:])


def many_labels(root: Path) -> Path:
    rows = np.random.default_rng(1).integers(0, 2, (50, 4))
    return arrays(root, train_labels=rows[:40], test_labels=rows[40:])


def idx(root: Path) -> Path:
    root.mkdir()
    random = np.random.default_rng(1)
    for split, count in (("train", 40), ("t10k", 10)):
        images, labels = random.integers(0, 256, (count, 12, 12), np.uint8), (np.arange(count) % 4).astype(np.uint8)
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            (root / f"{split}-{kind}-ubyte").write_bytes(header + values.tobytes())
    return root


BUILT: tuple[Callable[[Path], Path], ...] = (
    mixed_sizes, large_photographs, grey_among_rgb, rgba, sixteen_bit, cmyk, turned_by_exif, odd_names,
    a_text_among_pictures, damaged_files, three_pictures, unbalanced, splits_of_their_own, webp_and_palettes, a_table,
    arrays, float_images, many_labels, idx,
)  # fmt: skip
"""Data that can be built."""


def one_class(root: Path) -> Path:
    return folders(root, {"cats": 12})


def labels_from_one(root: Path) -> Path:
    labels = 1 + np.arange(50) % 3
    return arrays(root, train_labels=labels[:40], test_labels=labels[40:])


def one_hot(root: Path) -> Path:
    rows = np.eye(3, dtype=np.float32)[np.arange(50) % 3]
    return arrays(root, train_labels=rows[:40], test_labels=rows[40:])


def sixteen_bit_arrays(root: Path) -> Path:
    images = np.random.default_rng(1).integers(0, 4096, (50, 12, 12, 1), np.uint16)
    return arrays(root, train_images=images[:40], test_images=images[40:])


def black(root: Path) -> Path:
    images = np.zeros((50, 12, 12, 1), np.uint8)
    return arrays(root, train_images=images[:40], test_images=images[40:])


def rows_of_numbers(root: Path) -> Path:
    numbers = np.random.default_rng(1).normal(size=(50, 7)).astype(np.float32)
    return arrays(root, train_images=numbers[:40], test_images=numbers[40:])


def a_table_with_other_words(root: Path) -> Path:
    table = a_table(root)
    table.write_text(table.read_text().replace("name,label", "filename,class"))
    return table


def a_file_among_the_classes(root: Path) -> Path:
    folders(root, {"cats": 12, "dogs": 12})
    (root / "README.md").write_text("cats and dogs")
    return root


def packed(root: Path) -> Path:
    root.mkdir()
    (root / "data.zip").write_bytes(b"PK")
    return root / "data.zip"


def nothing(root: Path) -> Path:
    root.mkdir()
    return root


def all_damaged(root: Path) -> Path:
    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)
        (root / name / "1.jpg").write_bytes(b"\xff\xd8 no picture")
    return root


def two_inputs(root: Path) -> Path:
    """A picture and three real values, of a class."""
    more = np.random.default_rng(2).random((50, 3), np.float32)
    return arrays(root, train_measures=more[:40], test_measures=more[40:])


def three_targets(root: Path) -> Path:
    """A class of three, one of two, and a real value, found from a picture."""
    path = arrays(root)
    with np.load(path) as archive:
        renamed = {name.replace("labels", "kind"): archive[name] for name in archive}
    for split in ("train", "test"):
        kind = renamed[f"{split}_kind"]
        renamed |= {f"{split}_owner": kind % 2, f"{split}_age": kind.astype(np.float32) * 1.5}
    np.savez(path, **renamed)
    return path


def no_file(root: Path) -> Path:
    return root / "pictures"


def again(make: Callable[..., Path], **replaced: Any) -> Callable[[Path], Path]:
    """Other data in the place of those that were refused."""

    def mended(path: Path) -> Path:
        root = path.parent if path.exists() and not path.is_dir() else path
        if root.exists():
            shutil.rmtree(root)
        return make(root, **replaced)

    return mended


def _with_dogs(path: Path) -> Path:
    return folders(path, {"dogs": 12})


def _without_readme(path: Path) -> Path:
    (path / "README.md").unlink()
    return path


def _with_header(path: Path) -> Path:
    path.write_text(path.read_text().replace("filename,class", "name,label"))
    return path


def _in_folder(path: Path) -> Path:
    return idx(path.parent / "unpacked")


class Refusal(NamedTuple):
    """Data that cannot be built: what is said, a part of the hint, and what a person then does about the data."""

    make: Callable[[Path], Path]
    said: str
    hint: str
    mended: Callable[[Path], Path]


REFUSED = (
    Refusal(
        one_class, "one class: there is no difference to learn", follows("Add examples of another class"), _with_dogs
    ),
    Refusal(labels_from_one, "the labels are counted from 1", follows("Save labels - 1"), again(arrays)),
    Refusal(one_hot, "The labels are no classes", follows("Save classes as whole numbers"), again(arrays)),
    Refusal(sixteen_bit_arrays, "neither bytes nor real", follows("Save bytes (astype uint8"), again(arrays)),
    Refusal(black, "All values of the input are equal", follows("look at what wrote the data"), again(arrays)),
    Refusal(
        three_targets, "no labels, or several", follows("Name the array of the classes train_labels"), again(arrays)
    ),
    Refusal(a_table_with_other_words, "its header lacks name", "Write a header name,label", _with_header),
    Refusal(
        a_file_among_the_classes, "A file lies among the folders", follows("move the file elsewhere"), _without_readme
    ),
    Refusal(packed, "The data are packed", follows("unpack them, and give the folder"), _in_folder),
    Refusal(
        nothing, "The folder of the data is empty", follows("Give a folder with a folder of pictures"), again(rgba)
    ),
    Refusal(no_file, "The data do not exist", follows("correct the path of the data"), again(rgba)),
    Refusal(all_damaged, "All pictures are damaged", "Lay the pictures out as", again(rgba)),
)
