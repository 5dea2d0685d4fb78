"""The order of a build: one model to its end before the next one is trained."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builds.conftest import SPEC, ToyProject

SLOWER: list[dict[str, Any]] = [{"train": {"steps": steps}} for steps in (200, 300, 400)]
VARIANTS: dict[str, dict[str, Any]] = dict(zip("abcde", [{}, {"quantize": {"method": "ptq"}}, *SLOWER], strict=True))
"""a and b share their float training; the others share only dataset and check."""

ORDER = ["float", "quantize", "evaluate", "quantize", "evaluate", *["float", "quantize", "evaluate"] * 3]

PREFIXED = """
from qatbuild.plugin import qatbuild_tasks
from tests.builds.toolchain import ToyExecutor
task_models = qatbuild_tasks("models", executor=ToyExecutor())
"""


@pytest.mark.parametrize(
    "arguments",
    ["", "net", "net@a net@b net@c net@d net@e", "net net@e:float", "-n 1", "-n 1 net net@e:float", "-c -a net"],
)
def test_every_model_is_judged_before_the_next_one_is_trained(toy: ToyProject, arguments: str) -> None:
    toy.spec("net", variants=VARIANTS)
    assert trained_and_judged(toy.built(*arguments.split())) == ORDER


@pytest.mark.parametrize("arguments", ["models", "models/net", "-n 1 models"])
def test_the_same_below_a_prefix(toy: ToyProject, arguments: str) -> None:
    toy.spec("net", variants=VARIANTS)
    (toy.root / "dodo.py").write_text(PREFIXED)
    assert trained_and_judged(toy.built(*arguments.split())) == ORDER


def test_specs_of_their_own_are_built_one_after_the_other(toy: ToyProject) -> None:
    for name, fields in VARIANTS.items():
        steps = {"train": {**SPEC["train"], **fields["train"]}} if "train" in fields else {}
        toy.spec(name, **{**fields, **steps})
    assert trained_and_judged(toy.built("a", "b", "c", "d", "e")) == ORDER
    (toy.root / "specs/net.json").unlink()
    assert trained_and_judged(toy.built("-a")) == ORDER


def test_a_failure_stops_the_build_before_another_model_is_trained(toy: ToyProject) -> None:
    toy.spec("net", variants=VARIANTS)
    (toy.root / "broken.txt").write_text("evaluate fail")
    assert toy.doit("net").returncode == 1
    assert trained_and_judged(toy.runs()) == ORDER[:3]


def trained_and_judged(stages: list[str]) -> list[str]:
    return [each for each in stages if each in {"float", "quantize", "evaluate"}]
