"""Which tensor of two files differs first."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qatbuild.worker.difference import difference


def both(folder: Path, name: str) -> tuple[Path, Path]:
    for side in ("one", "other"):
        (folder / side).mkdir(exist_ok=True)
    return folder / "one" / name, folder / "other" / name


def test_the_first_value_that_differs_is_found_beyond_the_first_rows(tmp_path: Path) -> None:
    one, other = both(tmp_path, "images.npy")
    values = np.zeros((5000, 2), np.float32)
    np.save(one, values)
    values[4999, 1] = 1
    np.save(other, values)
    differs = difference(one, other)
    assert differs.tensor == "images"
    assert differs.values == "1 of 10,000 values differ, the first at [4999, 1]: 0.0 and 1.0"


def test_arrays_of_an_archive_have_names_and_zeros_have_signs(tmp_path: Path) -> None:
    one, other = both(tmp_path, "model.npz")
    np.savez(one, a=np.zeros(3), b=np.array([np.nan, 0.0]))
    np.savez(other, a=np.zeros(3), b=np.array([np.nan, -0.0]))
    assert difference(one, other).tensor == "b"
    assert "1 of 2 values differ, the first at [1]: 0.0 and -0.0" in difference(one, other).values


def test_another_shape_another_array_and_another_byte(tmp_path: Path) -> None:
    one, other = both(tmp_path, "model.npz")
    np.savez(one, a=np.zeros(3))
    np.savez(other, a=np.zeros((3, 1)))
    assert difference(one, other).values == "float64[3] and float64[3, 1]"
    np.savez(other, a=np.zeros(3), b=np.zeros(1))
    assert difference(one, other) == ("b", "only the rebuilt file has this tensor")
    np.savez(other)
    assert difference(one, other) == ("a", "only the built file has this tensor")
    one, other = both(tmp_path, "rewrite.json")
    one.write_text("[1, 2]")
    other.write_text("[1, 3, 4]")
    assert difference(one, other) == ("byte 4", "6 and 9 bytes")


def test_a_file_that_is_not_what_its_name_says_is_compared_by_bytes(tmp_path: Path) -> None:
    one, other = both(tmp_path, "images.npy")
    one.write_text("toy")
    other.write_text("top")
    assert difference(one, other).tensor == "byte 2"
    other.unlink()
    assert difference(one, other).values == "only one of the builds has this file"
