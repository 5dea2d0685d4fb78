"""The curve of a training: its losses in few points."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from qatbuild.worker.training.curve import Curve


def drawn(steps: int) -> Curve:
    curve = Curve()
    for step in range(1, steps + 1):
        curve.add(step, steps, loss=float(step), learning_rate=1 / step)
    return curve


@pytest.mark.parametrize(("steps", "points"), [(1, 1), (7, 7), (200, 200), (201, 101), (1500, 188), (30_001, 199)])
def test_a_training_of_any_length_has_at_most_200_points_and_the_last_step(steps: int, points: int) -> None:
    curve = drawn(steps)
    assert len(curve.points) == points
    assert curve.points[-1][0] == steps
    assert curve.points[-1][2] == 1 / steps


def test_a_point_is_the_mean_loss_since_the_one_before() -> None:
    assert drawn(401).points[:2] == [[3, 2.0, 1 / 3], [6, 5.0, 1 / 6]]
    assert drawn(401).points[-1][:2] == [401, 400.5]


def test_a_curve_goes_on_from_what_was_saved_of_it() -> None:
    curve = Curve()
    for step in range(1, 402):
        curve = Curve(**asdict(curve))
        curve.add(step, 401, float(step), 1 / step)
    assert curve == drawn(401)
