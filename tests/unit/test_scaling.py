"""The scaling of the input: of any mean the nearest byte is the zero point, for every stage."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qatbuild.exchange.scaling import Scaling
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
    assert "input.mean is 127.5" in Scaling(127.5, 1).rounding
    assert "nearest, 128," in Scaling(127.5, 1).rounding
    assert Scaling(128.0, 1).rounding == ""


def test_no_module_computes_with_the_mean_itself() -> None:
    sources = {path.name: path.read_text() for path in (Path(REPOSITORY) / "qatbuild/worker").rglob("*.py")}
    readers = {name for name, text in sources.items() if re.search(r"scaling\.mean\b|\*scaling\b", text)}
    assert readers == {"scaling_layers.py"}  # It prints what the spec says.
