"""Segmentation: its loss, and mean intersection over union against a reference that counts pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from qatbuild.exchange.errors import StageError
from tests.hints import follows
from tests.tasks.running import Column, check, classes, filled, loss, measure, results, task

RANDOM = np.random.default_rng(18)
FIELDS = {"task": "segmentation"}
IGNORED = 255

pytestmark = pytest.mark.tf


def masks(examples: int, count: int, ignored: float = 0.1):
    truth = RANDOM.integers(0, count, (examples, 3, 5)).astype(np.int32)
    truth[RANDOM.random(truth.shape) < ignored] = IGNORED
    return truth


def naive(truth, answer, count: int) -> tuple[float, float]:
    """Intersection over union of each class that occurs in the truth, and which part of the pixels is right."""
    pairs = [(t, a) for t, a in zip(truth.ravel().tolist(), answer.ravel().tolist(), strict=True) if t != IGNORED]
    ratios = []
    for each in range(count):
        both = sum(1 for t, a in pairs if t == each and a == each)
        either = sum(1 for t, a in pairs if each in {t, a})
        if any(t == each for t, _ in pairs):
            ratios.append(both / either)
    return 100 * sum(ratios) / len(ratios), 100 * sum(t == a for t, a in pairs) / len(pairs)


def test_miou_is_the_mean_over_the_classes_that_occur_in_the_truth() -> None:
    logits = RANDOM.integers(0, 4, (20, 3, 5, 6)).astype(np.float32)  # With ties; class 5 is answered, never true.
    truth = masks(20, 5)
    got = measure(task("mask", FIELDS, mask=classes(6, 3, 5)), {"mask": logits}, {"mask": truth})
    wanted = naive(truth, logits.argmax(axis=-1), 6)
    assert (got["miou"], got["pixel_accuracy"]) == pytest.approx(wanted)


def test_classes_are_a_result_too_and_have_the_same_figures() -> None:
    logits, truth = RANDOM.normal(size=(9, 3, 5, 4)), masks(9, 4)
    made = task("mask", {**FIELDS, "values": "classes"}, mask=classes(4, 3, 5))
    values, names = results(made, {"mask": logits})
    assert values["mask"].dtype == np.int32
    assert names == {"mask": "Net/Predictions/Classes"}
    assert measure(made, values, {"mask": truth}) == measure(made, {"mask": logits}, {"mask": truth})


def test_a_true_class_above_all_answers_counts_as_missed() -> None:
    made = task("mask", {**FIELDS, "values": "classes"}, mask=classes(4, 1, 2))
    answers, truth = np.array([[[0, 1]]], np.int32), np.array([[[0, 3]]], np.int32)
    assert measure(made, {"mask": answers}, {"mask": truth}) == {"miou": 50, "pixel_accuracy": 50}


def test_pixels_that_a_shift_uncovers_are_ignored() -> None:
    assert task("mask", FIELDS, mask=classes(4, 3, 5)).moving_targets == {"mask": IGNORED}


def test_logits_are_the_result_by_default() -> None:
    made = task("mask", FIELDS, mask=classes(4, 3, 5))
    assert results(made, {"mask": np.zeros((1, 3, 5, 4))})[1] == {"mask": "Net/Predictions/mask"}


def test_the_loss_is_the_mean_cross_entropy_of_pixels_that_are_not_ignored() -> None:
    logits, truth = RANDOM.normal(size=(4, 3, 5, 3)).astype(np.float32), masks(4, 3, 0.3)
    parts = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    wanted = [-np.log(part[t]) for part, t in zip(parts.reshape(-1, 3), truth.ravel(), strict=True) if t != IGNORED]
    got, gradients = loss(task("mask", FIELDS, mask=classes(3, 3, 5)), {"mask": logits}, {"mask": truth})
    assert got == pytest.approx(np.mean(wanted), rel=1e-5)
    assert not gradients["mask"][truth == IGNORED].any()


def test_pixels_that_are_all_ignored_have_no_loss_and_no_figures() -> None:
    made, truth = task("mask", FIELDS, mask=classes(3, 3, 5)), np.full((2, 3, 5), IGNORED, np.int32)
    assert loss(made, {"mask": np.ones((2, 3, 5, 3), np.float32)}, {"mask": truth})[0] == 0
    meter = filled(made, {"mask": np.ones((2, 3, 5, 3))}, {"mask": truth})
    assert meter.values() == {}
    assert len(meter.notes()) == 2


def test_bytes_without_names_have_the_networks_classes() -> None:
    made = task("mask", FIELDS, mask=Column("uint8", (3, 5)))
    check(made, mask=[None, 3, 5, 4])
    assert made.sizes == {"mask": 4}
    made.check_values({"mask": np.array([[[0, 3, 255]]], np.uint8)})
    with pytest.raises(StageError, match=r"example +0 at \[0, 1\]\n +value +4\n +wanted +0..3, or 255"):
        made.check_values({"mask": np.array([[[0, 4, 255]]], np.uint8)})


def test_another_size_is_refused_with_both_and_the_resized_one_is_taken() -> None:
    made = task("mask", FIELDS, mask=classes(4, 32, 32))
    with pytest.raises(StageError, match=r"wanted +\[n, 32, 32, 4\]\n +got +\[n, 16, 16, 4\]") as caught:
        check(made, mask=[None, 16, 16, 4])
    assert follows("Upsample the logits in the network") in caught.value.hint
    check(made, mask=[None, 32, 32, 4])
    check(task("mask", FIELDS, mask=classes(4, 16, 16)), mask=[None, 16, 16, 4])


def test_masks_of_another_shape_are_refused_and_then_taken() -> None:
    saved = np.zeros((2, 3, 5, 1))
    with pytest.raises(StageError) as caught:
        task("mask", FIELDS, mask=Column("int32", saved.shape[1:]))
    assert follows("Save masks[..., 0].") in caught.value.hint
    task("mask", FIELDS, mask=Column("int32", saved[..., 0].shape[1:]))
    one_hot = np.zeros((2, 3, 5, 4))
    with pytest.raises(StageError) as caught:
        task("mask", FIELDS, mask=Column("float32", one_hot.shape[1:]))
    assert follows("Save masks.argmax(axis=-1) if they are one-hot") in caught.value.hint
    task("mask", FIELDS, mask=Column("int32", one_hot.argmax(axis=-1).shape[1:]))
    with pytest.raises(StageError) as caught:
        task("mask", FIELDS, mask=Column("float32", (3, 5)))
    assert follows('Save whole numbers, masks.astype("int32")') in caught.value.hint
    task("mask", {"task": "regression"}, mask=Column("float32", (3, 5)))
