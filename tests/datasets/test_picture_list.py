"""The names of a hundred thousand pictures take a few bytes each."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np

from qatbuild.worker.datasets.picture_list import Classes, PictureList


def test_every_picture_has_its_name_and_class_in_any_order() -> None:
    files = PictureList(Path("all"), ("cat", "dog"))
    names = [f"{'p' * (number % 7)}{number}-\udce9.jpg" for number in range(9001)]  # The last byte is no UTF-8.
    for number, name in enumerate(names):
        files.add(name, number % 2)
    assert len(files) == len(names)
    for number in (0, 9000, 4095, 4096, 8191, 8192, 5):
        assert files.path(number) == Path("all", ("cat", "dog")[number % 2], names[number])
    assert [Path(file).name for file in files] == names
    classes = Classes(files)
    assert classes.read(np.arange(9001)).tolist() == [number % 2 for number in range(9001)]
    assert classes.read(np.array([9000, 3, 512, 511])).tolist() == [0, 1, 0, 1]


def test_a_picture_takes_less_than_eight_bytes() -> None:
    tracemalloc.start()
    try:
        files = PictureList(Path(), ("cat",))
        for number in range(50_000):
            files.add(f"{number:08d}.jpg", 0)
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken_bytes < 8 * 50_000
