"""Classification: its loss, its metrics, and the targets that it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.outputs import Output
from qatbuild.worker import tasks
from qatbuild.worker.tasks.columns import DatasetFacts
from tests.hints import follows
from tests.tasks.running import BYTES, Column, check, classes, filled, loss, measure, results, task

RANDOM = np.random.default_rng(14)

pytestmark = pytest.mark.tf


def test_the_loss_is_the_mean_softmax_cross_entropy() -> None:
    logits, labels = RANDOM.normal(size=(6, 4)).astype(np.float32), np.array([0, 3, 1, 1, 2, 0], np.int32)
    parts = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    got, _ = loss(task("labels", {}, labels=classes(4)), {"labels": logits}, {"labels": labels})
    assert got == pytest.approx(-np.log(parts[range(6), labels]).mean(), rel=1e-5)


def test_softmax_is_the_result_in_steps_of_1_256_with_the_name_that_it_always_had() -> None:
    made = task("labels", {}, labels=classes(3))
    values, names = results(made, {"labels": np.array([[0.0, 0, 0]])})
    assert values["labels"] == pytest.approx(np.full((1, 3), 1 / 3))
    assert names == {"labels": "Net/Predictions/Softmax"}


def test_logits_are_the_result_where_they_are_asked_for_with_a_range_of_their_own() -> None:
    made = task("labels", {"values": "logits"}, labels=classes(3))
    values, names = results(made, {"labels": np.array([[1.0, 2, 3]])})
    assert values["labels"].tolist() == [[1, 2, 3]]
    assert names == {"labels": "Net/Predictions/labels"}


def test_top1_and_top5_count_the_rank_of_the_right_class() -> None:
    scores, labels = RANDOM.integers(0, 9, (500, 12)).astype(np.float32), RANDOM.integers(0, 12, 500).astype(np.int32)
    order = np.argsort(-scores, axis=1, kind="stable")  # Of equal scores the lower class is first, as in argmax.
    right = order == labels[:, None]
    got = measure(task("labels", {}, labels=classes(12)), {"labels": scores}, {"labels": labels})
    assert got == pytest.approx({"top1": 100 * right[:, 0].mean(), "top5": 100 * right[:, :5].any(axis=1).mean()})


def test_five_classes_have_no_top5() -> None:
    assert [metric.name for metric in task("labels", {}, labels=classes(5)).metrics] == ["top1"]
    assert [metric.name for metric in task("labels", {}, labels=classes(6)).metrics] == ["top1", "top5"]


def test_nan_is_never_right() -> None:
    got = measure(task("y", {}, y=classes(2)), {"y": np.full((3, 2), np.nan, np.float32)}, {"y": np.zeros(3, np.int32)})
    assert got == {"top1": 0}


def test_no_example_is_no_figure_but_a_sentence() -> None:
    meter = filled(task("y", {}, y=classes(2)), {"y": np.zeros((0, 2), np.float32)}, {"y": np.zeros(0, np.int32)})
    assert meter.values() == {}
    assert meter.notes() == ("top1 is left out: no example was measured.",)


def test_one_hot_labels_are_refused_and_their_argmax_is_taken() -> None:
    one_hot = np.eye(3, dtype=np.float32)[[2, 0, 1]]
    with pytest.raises(StageError, match=r"got +labels float32 \[n, 3\]") as caught:
        task("labels", {}, labels=Column("float32", (3,)))
    assert follows("labels.argmax(axis=1) if the labels are one-hot") in caught.value.hint
    labels = one_hot.argmax(axis=1).astype(np.int32)
    task("labels", {}, labels=classes(3)).check_values({"labels": labels})
    task("labels", {"task": "multilabel"}, labels=Column("float32", (3,))).check_values({"labels": one_hot})


def test_labels_in_a_column_or_as_reals_are_refused_and_then_taken() -> None:
    with pytest.raises(StageError) as caught:
        task("labels", {}, labels=Column("int32", (1,), ("0", "1")))
    assert follows("Save labels.reshape(-1).") in caught.value.hint
    task("labels", {}, labels=classes(2, *np.zeros((5, 1)).reshape(-1).shape[1:]))
    with pytest.raises(StageError) as caught:
        task("labels", {}, labels=Column("float32", ()))
    assert follows("Save whole numbers") in caught.value.hint
    task("labels", {"task": "regression"}, labels=Column("float32", ()))


def test_labels_from_1_on_are_refused_and_minus_1_they_are_taken() -> None:
    made, labels = task("labels", {}, labels=classes(3)), np.array([1, 2, 3, 1], np.int32)
    with pytest.raises(StageError, match=r"example +102\n +value +3\n +wanted +0..2") as caught:
        made.check_values({"labels": labels}, first=100)
    assert follows("Classes are counted from 0: if yours begin with 1") in caught.value.hint
    made.check_values({"labels": labels - 1})
    with pytest.raises(StageError) as caught:
        made.check_values({"labels": labels - 2})
    assert not caught.value.hint
    with pytest.raises(StageError) as caught:  # Counted from 0, but one is too great.
        made.check_values({"labels": np.array([0, 3], np.int32)})
    assert not caught.value.hint


def test_a_missing_target_is_named_with_the_arrays_there_are_and_one_of_them_is_taken() -> None:
    columns = {"age": Column("float32", ()), "gender": classes(2)}
    with pytest.raises(StageError, match=r"age float32 \[n\]; gender int32 \[n\]") as caught:
        task("sex", {}, **columns)
    assert follows('Name one of these arrays as "target"') in caught.value.hint
    assert task("sex", {"target": "gender"}, **columns).targets == ("gender",)


def test_a_lone_target_is_taken_whatever_its_name() -> None:
    assert task("digit", {}, labels=classes(2)).targets == ("labels",)


def test_labels_are_the_target_beside_a_lone_array_of_another_name_than_the_input() -> None:
    arrays = DatasetFacts({"x": Column("uint8", (4,)), "labels": classes(2)}, {}, {}, ())
    assert tasks.make("digit", Output.of({}), arrays, {"images": BYTES}).targets == ("labels",)


def test_a_tensor_of_another_number_of_classes_is_refused_with_both() -> None:
    made = task("labels", {}, labels=classes(10))
    check(made, labels=[None, 10])
    with pytest.raises(StageError, match=r"wanted +\[n, 10\]\n +got +\[n, 7\]"):
        check(made, labels=[None, 7])
    with pytest.raises(StageError, match=r"got +\[n, 10, 3\]"):
        check(made, labels=[None, 10, 3])
    with pytest.raises(StageError, match="does not return a tensor"):
        check(made, label=[None, 10])


def test_a_softmax_of_more_classes_than_steps_is_noted_and_logits_are_not() -> None:
    for count, values, notes in ((256, None, 0), (257, None, 1), (257, "logits", 0)):
        made = task("labels", {"values": values}, labels=classes(count))
        assert len(made.notes) == notes, "The evaluation builds no network, and has it in its report."
        check(made, labels=[None, count])
        assert len(made.notes) == notes
