"""Compares the outputs of a route with a reference: by the answers, and in steps of the .tflite's output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.facts import Gate
from qatbuild.exchange.route_facts import OutputComparison
from qatbuild.worker.deploy import Subject
from qatbuild.worker.tasks import Task

NEAR_LSB = 2
"""Real values no further apart count as the same: of correct runtimes, Arm NN is up to 2 steps from LiteRT."""

OTHER_WEIGHTS_LSB = 8
"""The same for a file whose weights were rounded anew, which moves values as far as the quantization itself did."""

_DECIMALS, _PERCENT_DECIMALS = 2, 4
_Reals = Mapping[str, NDArray[Any]]


def compared(subject: Subject, ours: _Reals, theirs: _Reals, near_lsb: int = NEAR_LSB) -> dict[str, OutputComparison]:
    """Compares real values [n, ...] by the network's tensors; the result is by output."""
    return {name: _compared(subject, task, (ours, theirs), near_lsb) for name, task in subject.tasks.items()}


def _compared(subject: Subject, task: Task, pair: tuple[_Reals, _Reals], near_lsb: int) -> OutputComparison:
    ours, theirs = pair
    steps = np.concatenate(
        [
            np.abs(ours[name].astype(np.float64) - theirs[name]).reshape(-1) / subject.gives[name].scale
            for name in task.sizes
        ]
    )
    our_answers, their_answers = task.answers(ours), task.answers(theirs)
    same = None
    if our_answers is not None and their_answers is not None:
        same = _percent(our_answers == their_answers)
    return OutputComparison(
        same_percent=same,
        near_percent=_percent(steps <= near_lsb),
        max_lsb=round(float(steps.max(initial=0)), _DECIMALS),
        rmse_lsb=round(float(np.sqrt(np.mean(np.square(steps)))), _DECIMALS),
    )


def gates(
    wanted: float | None, outputs: Mapping[str, OutputComparison], reference: str, near_lsb: int = NEAR_LSB
) -> tuple[Gate, ...]:
    """Returns the gate `min_agreement` with `reference` of each output, in percent; no gate without `wanted`.

    It counts equal answers, or where an output gives real values, those that are near, as they were compared.
    """
    if wanted is None:
        return ()
    near = f"of the values within {near_lsb} LSB of {reference}"
    titles = {name: "min_agreement" if len(outputs) == 1 else f"min_agreement {name}" for name in outputs}
    return tuple(_gate(titles[name], wanted, each, f"with {reference}", near) for name, each in outputs.items())


def _gate(title: str, wanted: float, each: OutputComparison, same: str, near: str) -> Gate:
    got, what = (each.near_percent, near) if each.same_percent is None else (each.same_percent, same)
    return Gate(title, f"at least {wanted:g} % {what}", f"{got:g} %", passed=got >= wanted)


def _percent(right: NDArray[Any]) -> float:
    return round(100 * float(np.mean(right)), _PERCENT_DECIMALS)
