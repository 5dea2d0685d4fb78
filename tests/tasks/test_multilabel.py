"""Multilabel: its loss, and its metrics against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from qatbuild.exchange.errors import StageError
from tests.hints import follows
from tests.tasks.running import Column, check, classes, filled, loss, measure, results, task

RANDOM = np.random.default_rng(15)
THREE = Column("int32", (3,))

pytestmark = pytest.mark.tf


def test_the_loss_is_the_mean_sigmoid_cross_entropy() -> None:
    logits, labels = RANDOM.normal(size=(5, 3)).astype(np.float32), RANDOM.integers(0, 2, (5, 3)).astype(np.int32)
    chance = 1 / (1 + np.exp(-logits))
    got, _ = loss(task("y", {"task": "multilabel"}, y=THREE), {"y": logits}, {"y": labels})
    assert got == pytest.approx(-np.log(np.where(labels, chance, 1 - chance)).mean(), rel=1e-5)


def test_logits_far_out_have_finite_gradients() -> None:
    logits, labels = np.array([[1e4, -1e4, 0]], np.float32), np.array([[0, 1, 1]], np.int32)
    got, _ = loss(task("y", {"task": "multilabel"}, y=THREE), {"y": logits}, {"y": labels})
    assert got == pytest.approx((1e4 + 1e4 + np.log(2)) / 3)


def test_auc_is_scikit_learns_macro_average_with_ties() -> None:
    scores, labels = RANDOM.integers(0, 256, (300, 3)) / 256, RANDOM.integers(0, 2, (300, 3)).astype(np.int32)
    got = measure(task("y", {"task": "multilabel"}, y=THREE), {"y": scores.astype(np.float32)}, {"y": labels})
    assert got["auc"] == pytest.approx(roc_auc_score(labels, scores, average="macro"))
    assert got["accuracy"] == pytest.approx(100 * ((scores > 0.5) == labels).mean())


def test_one_column_is_a_binary_classification_with_labels_of_either_shape() -> None:
    scores, labels = np.array([[0.2], [0.9], [0.6]], np.float32), np.array([0, 1, 0], np.int32)
    for column, targets in ((classes(2), labels), (Column("int32", (1,)), labels[:, None])):
        made = task("y", {"task": "multilabel"}, y=column)
        assert made.sizes == {"y": 1}
        check(made, y=[None, 1])
        assert measure(made, {"y": scores}, {"y": targets}) == pytest.approx({"auc": 1.0, "accuracy": 200 / 3})
        assert loss(made, {"y": scores}, {"y": targets})[0] > 0


def test_sigmoid_is_the_result_in_steps_of_1_256() -> None:
    made = task("y", {"task": "multilabel"}, y=THREE)
    values, names = results(made, {"y": np.array([[0.0, 20, -20]])})
    assert values["y"] == pytest.approx(np.array([[0.5, 1, 0]]), abs=1e-6)
    assert names == {"y": "Net/Predictions/Sigmoid"}


def test_a_label_is_there_above_a_half() -> None:
    made = task("y", {"task": "multilabel"}, y=THREE)
    assert made.answers({"y": np.array([[0.45, 0.5, 0.51]])}).tolist() == [[False, False, True]]


def test_a_column_of_one_label_does_not_count_and_without_any_other_auc_is_a_sentence() -> None:
    made = task("y", {"task": "multilabel"}, y=THREE)
    scores = RANDOM.random((20, 3)).astype(np.float32)
    labels = np.zeros((20, 3), np.int32)
    meter = filled(made, {"y": scores}, {"y": labels})
    assert set(meter.values()) == {"accuracy"}
    assert meter.notes() == ("auc is left out: in each column all examples have the same label.",)
    labels[:7, 1], labels[:, 2] = 1, 1
    assert measure(made, {"y": scores}, {"y": labels})["auc"] == pytest.approx(
        roc_auc_score(labels[:, 1], scores[:, 1])
    )


def test_scores_that_are_nan_give_no_auc() -> None:
    meter = filled(task("y", {"task": "multilabel"}, y=THREE), {"y": np.full((2, 3), np.nan)}, {"y": np.eye(3)[:2]})
    assert meter.notes() == ("auc is left out: the scores are not finite.",)


def test_probabilities_as_labels_are_refused_and_taken_when_they_are_rounded() -> None:
    made, labels = task("y", {"task": "multilabel"}, y=Column("float32", (2,))), np.array([[1, 0], [0.3, 1]])
    with pytest.raises(StageError, match=r"example +1 at \[0\]\n +value +0.3") as caught:
        made.check_values({"y": labels})
    assert follows("Save (labels > 0.5)") in caught.value.hint
    made.check_values({"y": labels > 0.5})


def test_classes_are_refused_and_are_the_task_classification() -> None:
    with pytest.raises(StageError) as caught:
        task("y", {"task": "multilabel"}, y=classes(10))
    assert follows('One of several classes an example is the task "classification"') in caught.value.hint
    task("y", {"task": "classification"}, y=classes(10))


def test_labels_of_two_axes_are_refused_and_taken_when_they_are_flat() -> None:
    with pytest.raises(StageError) as caught:
        task("y", {"task": "multilabel"}, y=Column("int32", (2, 2)))
    assert follows("Save labels.reshape(len(labels), -1)") in caught.value.hint
    labels = np.zeros((5, 2, 2))
    task("y", {"task": "multilabel"}, y=Column("int32", labels.reshape(len(labels), -1).shape[1:]))
