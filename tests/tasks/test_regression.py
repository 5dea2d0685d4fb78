"""Regression: its losses, and its metrics against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from qatbuild.exchange.errors import StageError
from tests.tasks.running import Column, check, classes, filled, loss, measure, results, task

RANDOM = np.random.default_rng(16)

pytestmark = pytest.mark.tf


def reals(*shape: int) -> Column:
    return Column("float32", shape)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mse", lambda apart: (apart**2).mean()),
        ("mae", lambda apart: np.abs(apart).mean()),
        ("huber", lambda apart: np.where(np.abs(apart) <= 1, apart**2 / 2, np.abs(apart) - 0.5).mean()),
    ],
)
def test_the_loss_is_a_mean_over_all_elements(name, wanted) -> None:
    values, targets = (RANDOM.normal(scale=2, size=(5, 3)).astype(np.float32) for _ in range(2))
    got, _ = loss(task("y", {"task": "regression", "loss": name}, y=reals(3)), {"y": values}, {"y": targets})
    assert got == pytest.approx(wanted(values - targets), rel=1e-5)


@pytest.mark.parametrize("name", ["mse", "mae", "huber"])
def test_a_loss_of_zero_has_finite_gradients(name) -> None:
    zeros = np.zeros((2, 3), np.float32)
    assert loss(task("y", {"task": "regression", "loss": name}, y=reals(3)), {"y": zeros}, {"y": zeros})[0] == 0


def test_mse_is_the_default_and_another_loss_is_refused() -> None:
    ones, zeros = np.full((1, 3), 2, np.float32), np.zeros((1, 3), np.float32)
    assert loss(task("y", {"task": "regression"}, y=reals(3)), {"y": ones}, {"y": zeros})[0] == 4
    with pytest.raises(StageError, match="mse, mae, huber"):
        loss(task("y", {"task": "regression", "loss": "l1"}, y=reals(3)), {"y": ones}, {"y": zeros})


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 4), (2, 3, 2)])
def test_the_metrics_are_scikit_learns_for_any_shape(shape) -> None:
    targets = RANDOM.normal(1000, 1, (60, *shape)).astype(np.float32)  # Far from 0: sums of squares would be lost.
    values = (targets + RANDOM.normal(scale=0.5, size=targets.shape)).astype(np.float32)
    made = task("y", {"task": "regression"}, y=reals(*shape))
    got = measure(made, {"y": values[:, None] if not shape else values}, {"y": targets})
    flat = targets.reshape(60, -1).astype(float), values.reshape(60, -1).astype(float)
    assert got["mae"] == pytest.approx(mean_absolute_error(*flat))
    assert got["rmse"] == pytest.approx(root_mean_squared_error(*(each.ravel() for each in flat)))
    assert got["r2"] == pytest.approx(r2_score(*flat))
    assert [metric.name for metric in made.metrics] == list(got)
    assert [metric.better for metric in made.metrics] == ["lower", "lower", "higher"]


def test_single_numbers_are_learnt_by_a_tensor_of_either_rank_without_broadcasting() -> None:
    targets, made = np.array([1, 2, 4], np.float32), task("y", {"task": "regression"}, y=reals())
    for values in (targets, targets[:, None]):
        assert loss(made, {"y": values + 1}, {"y": targets})[0] == 1
    assert made.sizes == {"y": 1}


def test_whole_numbers_are_targets_too() -> None:
    made = task("age", {"task": "regression"}, age=classes(90))
    assert loss(made, {"age": np.array([[31.5]])}, {"age": np.array([30], np.int32)})[0] == 2.25


def test_targets_that_are_all_equal_have_no_r2_and_elements_that_are_do_not_count() -> None:
    made = task("y", {"task": "regression"}, y=reals(2))
    values, targets = RANDOM.normal(size=(9, 2)), np.full((9, 2), 0.1)
    meter = filled(made, {"y": values}, {"y": targets})
    assert set(meter.values()) == {"mae", "rmse"}
    assert meter.notes()[0].startswith("r2 is left out: the targets are all equal")
    targets[:, 1] = RANDOM.normal(size=9)
    assert measure(made, {"y": values}, {"y": targets})["r2"] == pytest.approx(r2_score(targets[:, 1], values[:, 1]))


def test_values_that_are_not_finite_are_no_figures() -> None:
    meter = filled(task("y", {"task": "regression"}, y=reals(2)), {"y": np.full((3, 2), np.nan)}, {"y": np.eye(3, 2)})
    assert meter.values() == {}
    assert meter.notes()[0] == "mae is left out: it is no finite number."


def test_the_tensor_itself_is_the_result_with_the_range_of_the_spec() -> None:
    made = task("y", {"task": "regression", "range": [-1, 1]}, y=reals(2))
    values, names = results(made, {"y": np.array([[3.0, -4]])})
    assert values["y"].tolist() == [[3, -4]]
    assert names == {"y": "Net/Predictions/y"}


def test_a_tensor_of_another_shape_and_targets_that_are_not_finite_are_refused() -> None:
    made = task("y", {"task": "regression"}, y=reals(2, 4))
    with pytest.raises(StageError, match=r"wanted +\[n, 2, 4\]\n +got +\[n, 8\]"):
        check(made, y=[None, 8])
    with pytest.raises(StageError, match=r"value +nan"):
        made.check_values({"y": np.array([[0, np.nan]])})
