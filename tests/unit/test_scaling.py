"""The scaling of the input: of any mean the nearest byte is the zero point, for every stage."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from qatbuild.exchange.scaling import Scaling
from qatbuild.worker.inputs import NetworkInput
from tests.builds.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("mean", "zero_point"), [(0, 0), (0.4, 0), (0.5, 1), (127.49, 127), (127.5, 128), (128.5, 129), (254.7, 255)]
)
def test_nearest_byte_halves_up_is_the_zero_point(mean: float, zero_point: int) -> None:
    scaling = Scaling.of({"mean": mean, "std_dev": 64})
    assert scaling.zero_point == zero_point
    assert scaling.real(200.0) == (200 - zero_point) / 64
    assert scaling.to_json() == {"mean": mean, "std_dev": 64, "zero_point": zero_point}


def test_rounding_names_the_mean_that_was_asked_for_and_the_one_that_was_taken() -> None:
    assert "The mean of the input photo is 127.5:" in Scaling(127.5, 1).rounding("photo")
    assert "nearest, 128," in Scaling(127.5, 1).rounding("photo")
    assert Scaling(128.0, 1).rounding("photo") == ""


def test_equal_means_are_the_zero_point_and_others_become_shifts_of_bytes() -> None:
    scaling = Scaling.of({"mean": [127.5, 128.2, 128], "std_dev": [64.0, 32.0, 16.0]})
    assert (scaling.zero_point, scaling.std_dev) == (128, 1)
    assert (scaling.factors, scaling.shifts) == ((1 / 64, 1 / 32, 1 / 16), (0, 0, 0))
    assert "nearest, 128," in scaling.rounding("photo")
    scaling = Scaling.of({"mean": [103.939, 116.779, 123.68], "std_dev": 2, "order": "bgr"})
    assert (scaling.zero_point, scaling.std_dev, scaling.factors) == (0, 2, (1, 1, 1))
    assert scaling.shifts == (-103.939 / 2, -116.779 / 2, -123.68 / 2)
    assert scaling.bytes_of_zero == (104, 117, 124)
    assert scaling.rounding("photo") == ""
    assert scaling.to_json() == {
        "mean": [103.939, 116.779, 123.68], "std_dev": [2, 2, 2], "zero_point": 0, "order": "bgr",
    }  # fmt: skip


def test_lists_of_one_number_are_that_number() -> None:
    scaling = Scaling.of({"mean": [121.0, 121.0], "std_dev": [64.0, 64.0]})
    assert (scaling.zero_point, scaling.std_dev) == (121, 64)
    assert (scaling.factors, scaling.shifts) == ((1, 1), (0, 0))
    assert scaling.real_range == Scaling(121, 64).real_range


def test_uncovered_pixels_have_the_bytes_of_0_in_the_order_of_the_data() -> None:
    channels = {"mean": [1.0, 2.0, 3.0], "std_dev": 1.0}
    for order, fill in (("rgb", (1, 2, 3)), ("bgr", (3, 2, 1))):
        assert NetworkInput("images", (8, 8, 3), Scaling.of({**channels, "order": order})).fill == fill
    assert NetworkInput("images", (8, 8, 3), Scaling(127.5, 2)).fill == 128


def test_what_the_network_reads_is_the_formula_of_the_spec() -> None:
    taken = NetworkInput("images", (2,), Scaling.of({"mean": [10.0, 20.0], "std_dev": [2.0, 4.0]}))
    pixels = np.array([[10, 40]], np.uint8)
    np.testing.assert_allclose(taken.by_channel(taken.real(pixels)), [[0, 5]], atol=1e-6)


def test_no_module_computes_with_the_mean_itself() -> None:
    sources = {path.name: path.read_text() for path in (Path(REPOSITORY) / "qatbuild/worker").rglob("*.py")}
    readers = {name for name, text in sources.items() if re.search(r"scaling\.mean\b|\*scaling\b", text)}
    assert not readers
