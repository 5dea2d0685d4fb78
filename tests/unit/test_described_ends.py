"""The sentence about a model's inputs and outputs on its page."""

from __future__ import annotations

from typing import Any

import pytest

from qatbuild.exchange.scaling import RealInput, Scaling
from qatbuild.report.ends import described

END = {"dtype": "uint8", "shape": [1, 4], "scale": 0.5, "zero_point": 3}


def sentence(scaling: Any) -> str:
    return described({"input": END, "inputs": {"images": END}, "scalings": {"images": scaling.to_json()}})


@pytest.mark.parametrize(
    ("scaling", "more"),
    [
        (Scaling(3, 2), ", real = (byte - 3) / 2"),
        (Scaling(2.5, 2, "bgr"), ", real = (byte - 3) / 2, bgr"),
        (RealInput(), ", real values -1.5 to 126 as round(value / 0.5) + 3"),
        (
            Scaling.of({"mean": [1.5, 2, 3], "std_dev": 4}),
            ", the first layers with the means 1.5, 2, 3 and the deviations 4, 4, 4 of its channels",
        ),
    ],
)
def test_how_the_integers_of_an_input_become_what_the_network_computes_with(scaling: Any, more: str) -> None:
    assert sentence(scaling) == f"input uint8 [1, 4], scale 0.5, zero point 3{more}"


def test_several_inputs_and_outputs_are_named() -> None:
    report = {"inputs": {"a": END, "b": END}, "outputs": {"y": END}}
    assert [part.partition(" uint8")[0] for part in described(report).split("; ")] == ["input a", "input b", "output"]
