"""Functions of the user as loss and metrics, and what is said of those that fail."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qatbuild.exchange.errors import StageError
from tests.hints import follows
from tests.tasks.running import Column, filled, loss, measure, results, task

CODE = """
import numpy as np
import tensorflow as tf

def cubic(predictions, targets):
    return tf.reduce_mean(tf.abs(predictions - targets) ** 3)

def by_example(predictions, targets):
    return tf.reduce_mean(tf.abs(predictions - targets), axis=1)

def hard(predictions, targets):
    return tf.reduce_mean(tf.abs(tf.round(predictions) * 0 + targets))

def number(predictions, targets):
    return 3.5

def misspelt(predictions, targets):
    return tf.reduce_meen(predictions - targets)

def one(predictions):
    return tf.reduce_mean(predictions)

def median_error(predictions, targets):
    return np.median(np.abs(predictions - targets))

def nothing(predictions, targets):
    pass

def array(predictions, targets):
    return predictions - targets

def of_numpy(predictions, targets):
    return np.array(np.abs(predictions - targets).mean())

def nan(predictions, targets):
    return float("nan")

def fails(predictions, targets):
    return {}["targets"]
"""

VALUES = np.random.default_rng(19).normal(size=(30, 2)).astype(np.float32)
TARGETS = np.random.default_rng(20).normal(size=(30, 2)).astype(np.float32)
numbers = itertools.count()

pytestmark = pytest.mark.tf


@pytest.fixture
def made(tmp_path, monkeypatch):
    module = f"own_functions_{next(numbers)}"
    (tmp_path / f"{module}.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)

    def make(loss_name: str, metric: str = "median_error", better: str = "lower"):
        metrics = {"own": {"call": f"{module}:{metric}", "better": better}}
        call = loss_name if ":" in loss_name or "." in loss_name else f"{module}:{loss_name}"
        return task("y", {"task": "call", "loss": call, "metrics": metrics}, y=Column("float32", (2,)))

    return make


def train(made) -> float:
    return loss(made, {"y": VALUES}, {"y": TARGETS})[0]


def test_the_loss_is_the_functions(made) -> None:
    assert train(made("cubic")) == pytest.approx((np.abs(VALUES - TARGETS) ** 3).mean(), rel=1e-5)


def test_a_metric_sees_all_examples_at_once_and_has_its_direction(made) -> None:
    both = made("cubic")
    assert measure(both, {"y": VALUES}, {"y": TARGETS}) == {"own": pytest.approx(np.median(np.abs(VALUES - TARGETS)))}
    assert [(metric.name, metric.better) for metric in both.metrics] == [("own", "lower")]
    assert results(both, {"y": VALUES})[0]["y"].tolist() == VALUES.tolist()


def test_a_loss_an_example_is_refused_and_its_mean_is_taken(made) -> None:
    with pytest.raises(StageError, match=r"returned +float32 \[None\]") as caught:
        train(made("by_example"))
    assert follows("Return the mean over the batch: tf.reduce_mean(...)") in caught.value.hint
    assert "at    " in str(caught.value)
    train(made("cubic"))
    with pytest.raises(StageError, match=r"returned +float 3.5"):
        train(made("number"))


def test_a_loss_without_a_gradient_is_refused_and_a_smooth_one_is_taken(made) -> None:
    with pytest.raises(StageError, match="no gradient") as caught:
        train(made("hard"))
    assert follows("Compute it of the predictions themselves, without argmax") in caught.value.hint
    train(made("cubic"))


def test_an_exception_of_the_loss_is_named_with_its_line(made) -> None:
    with pytest.raises(StageError, match=r"at +own_functions_\d+.py:18: return tf.reduce_meen") as caught:
        train(made("misspelt"))
    assert "AttributeError" in str(caught.value)
    assert not caught.value.hint


def test_a_function_of_other_parameters_is_refused_with_those_that_it_gets(made) -> None:
    with pytest.raises(StageError, match="TypeError") as caught:
        train(made("one"))
    assert follows("It is called as function(predictions, targets).") in caught.value.hint
    train(made("cubic"))


@pytest.mark.parametrize(("metric", "got"), [("nothing", "None"), ("array", r"float32 \[30, 2\]")])
def test_a_metric_that_returns_no_number_is_refused(made, metric, got) -> None:
    with pytest.raises(StageError, match=f"returned +{got}") as caught:
        measure(made("cubic", metric), {"y": VALUES}, {"y": TARGETS})
    assert follows("Return one number, such as float(numpy.mean(...))") in caught.value.hint
    measure(made("cubic", "median_error"), {"y": VALUES}, {"y": TARGETS})


def test_a_metric_may_be_an_array_without_axes(made) -> None:
    got = measure(made("cubic", "of_numpy"), {"y": VALUES}, {"y": TARGETS})
    assert got == {"own": pytest.approx(np.abs(VALUES - TARGETS).mean())}


def test_a_metric_that_raises_is_named_with_its_line(made) -> None:
    with pytest.raises(StageError, match=r"at +own_functions_\d+.py:39: return \{\}\[.targets.\]"):
        measure(made("cubic", "fails"), {"y": VALUES}, {"y": TARGETS})


def test_a_metric_that_is_nan_is_left_out(made) -> None:
    meter = filled(made("cubic", "nan"), {"y": VALUES}, {"y": TARGETS})
    assert meter.values() == {}
    assert meter.notes() == ("own is left out: it is no finite number.",)


def test_a_function_that_does_not_exist_is_named_with_those_that_do(made) -> None:
    with pytest.raises(StageError, match=r"there are +cubic, by_example"):
        made("cubik")


def test_a_module_is_imported_from_the_projects_root(made, tmp_path) -> None:
    with pytest.raises(StageError, match="No module named 'losses'") as caught:
        made("losses:cubic")
    assert follows("Modules are imported from the project's root") in caught.value.hint
    (tmp_path / "losses.py").write_text(CODE)
    made("losses:cubic")
    (tmp_path / "broken.py").write_text("x = 1\ny = x.z\n")
    with pytest.raises(StageError, match=r"at +broken.py:2: y = x.z"):
        made("broken:cubic")
    with pytest.raises(StageError, match=r"must be written package\.module:function"):
        made("losses.cubic")
