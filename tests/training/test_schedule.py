"""Learning rates, against their formulas."""

from __future__ import annotations

import pytest

from qatbuild.exchange.errors import StageError
from qatbuild.worker.training.schedule import Schedule


def test_constant_never_changes() -> None:
    assert {Schedule("constant", 0.1).rate(step, 100) for step in range(100)} == {0.1}


def test_warm_up_rises_linearly_and_reaches_the_initial_rate_with_its_last_step() -> None:
    schedule = Schedule("constant", 0.4, warm_up_steps=4)
    assert [schedule.rate(step, 100) for step in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


def test_step_takes_a_value_from_its_boundary_on() -> None:
    schedule = Schedule("step", 0.1, boundaries=(3, 5), values=(0.01, 0.001))
    assert [schedule.rate(step, 100) for step in range(7)] == [0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def test_exponential_loses_a_factor_each_decay_steps_and_stops_at_final() -> None:
    schedule = Schedule("exponential", 0.8, decay_steps=10, decay_rate=0.5, final=0.15)
    assert schedule.rate(10, 100) == pytest.approx(0.4)
    assert schedule.rate(15, 100) == pytest.approx(0.4 * 0.5**0.5)
    assert schedule.rate(90, 100) == 0.15


def test_cosine_goes_from_initial_through_the_middle_to_final() -> None:
    schedule = Schedule("cosine", 1.0, final=0.2)
    assert [schedule.rate(step, 100) for step in (0, 50, 100)] == pytest.approx([1.0, 0.6, 0.2])


def test_cosine_after_warm_up_still_ends_with_the_training() -> None:
    schedule = Schedule("cosine", 1.0, warm_up_steps=20)
    assert schedule.rate(19, 100) == 1.0
    assert schedule.rate(60, 100) == pytest.approx(0.5)
    assert schedule.rate(100, 100) == pytest.approx(0.0)


def test_cosine_shorter_than_the_training_stays_at_final() -> None:
    schedule = Schedule("cosine", 1.0, final=0.1, decay_steps=10)
    assert schedule.rate(10, 100) == schedule.rate(99, 100) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": "linear"},
        {"schedule": "exponential", "decay_steps": 10},
        {"schedule": "step", "boundaries": (1, 2), "values": (0.1,)},
    ],
)
def test_a_schedule_that_lacks_its_numbers_is_refused(fields: dict) -> None:
    with pytest.raises(StageError, match="schedule"):
        Schedule(initial=0.1, **fields)
