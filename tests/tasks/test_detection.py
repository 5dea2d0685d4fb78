"""Detection: matching, loss, decoding and average precision against the naive reference."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.outputs import Anchors
from qatbuild.worker.tasks import anchors, boxes, matching
from qatbuild.worker.tasks.average_precision import LEAST_OVERLAPS, AveragePrecision
from tests.hints import follows
from tests.tasks import detecting
from tests.tasks.running import Column, check, classes, filled, loss, measure, results, task

RANDOM = np.random.default_rng(21)
LAYOUT = {"feature_maps": [[4, 4], [2, 2]], "scales": [0.3, 0.6], "aspect_ratios": [1, 2, 0.5]}
FIELDS = {"task": "detection", "anchors": LAYOUT}
CENTRED = anchors.centred(Anchors.of(LAYOUT))
COUNT, KINDS, MOST = 60, 3, 5

pytestmark = pytest.mark.tf


def detection(**changes):
    columns = {"object_boxes": Column("float32", (MOST, 4)), "object_classes": classes(KINDS, MOST), **changes}
    return task("object", FIELDS, **columns)


def scene(most: int = MOST) -> tuple[list[list[float]], list[int]]:
    """Boxes of an image with their classes; sometimes none."""
    count = RANDOM.integers(0, most + 1)
    places, sizes = RANDOM.uniform(0, 0.6, (count, 2)), RANDOM.uniform(0.1, 0.4, (count, 2))
    corners = np.concatenate([places, places + sizes], axis=1).astype(np.float32)
    return corners.tolist(), RANDOM.integers(0, KINDS, count).tolist()


def padded(scenes):
    """The targets; the boxes beyond an image's objects may be any."""
    corners, labels = np.full((len(scenes), MOST, 4), 0.25, np.float32), np.full((len(scenes), MOST), -1, np.int32)
    corners[..., 2:] = 0.75
    for number, (rows, each) in enumerate(scenes):
        corners[number, : len(rows)] = np.array(rows).reshape(-1, 4)
        labels[number, : len(each)] = each
    return {"object_boxes": corners, "object_classes": labels}


def tensors(examples: int):
    return {
        "object/boxes": RANDOM.normal(size=(examples, COUNT, 4)).astype(np.float32),
        "object/scores": RANDOM.normal(size=(examples, COUNT, KINDS + 1)).astype(np.float32),
    }


def test_anchors_are_in_the_order_of_a_convolutions_output() -> None:
    assert CENTRED.shape == (COUNT, 4)
    assert Anchors.of(LAYOUT).number == COUNT
    assert CENTRED[0] == pytest.approx([0.125, 0.125, 0.3, 0.3])
    assert CENTRED[1] == pytest.approx([0.125, 0.125, 0.3 / 2**0.5, 0.3 * 2**0.5])  # Twice as wide as high.
    assert CENTRED[3][:2] == pytest.approx([0.125, 0.375])  # The next column, then the next row.
    assert CENTRED[12][:2] == pytest.approx([0.375, 0.125])
    assert CENTRED[48] == pytest.approx([0.25, 0.25, 0.6, 0.6])


def test_an_anchor_is_matched_above_an_overlap_of_a_half_and_each_box_has_its_best_anchor() -> None:
    scenes = [scene() for _ in range(40)]
    targets = padded(scenes)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        truth = tf.constant(targets["object_boxes"]), tf.constant(targets["object_classes"])
        owners, matched = session.run(matching.match(*truth, CENTRED))
    for (rows, _), owner, has in zip(scenes, owners, matched, strict=True):
        assert dict(zip(np.flatnonzero(has), owner[has], strict=True)) == detecting.matches(CENTRED.tolist(), rows)


def test_the_loss_is_that_of_the_paper() -> None:
    scenes, made = [scene() for _ in range(12)], tensors(12)
    got, _ = loss(detection(), made, padded(scenes))
    rows, kinds = ([each[part] for each in scenes] for part in (0, 1))
    places, scores = (each.tolist() for each in made.values())
    assert got == pytest.approx(detecting.loss(places, scores, rows, kinds, CENTRED.tolist()), rel=1e-4)


def test_images_without_objects_have_no_loss_and_finite_gradients() -> None:
    got, gradients = loss(detection(), tensors(3), padded([([], [])] * 3))
    assert got == 0
    assert not any(each.any() for each in gradients.values())


def test_a_box_without_height_keeps_the_gradients_finite() -> None:
    assert np.isfinite(loss(detection(), tensors(1), padded([([[0.5, 0.1, 0.5, 0.9]], [0])]))[0])


def test_decoding_is_the_inverse_of_encoding() -> None:
    corners = np.array([scene(1)[0] or [[0.1, 0.2, 0.5, 0.9]] for _ in range(COUNT)], np.float32).reshape(COUNT, 4)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        encoded = session.run(matching.encoded(tf.constant(corners[None]), CENTRED))
    assert boxes.decoded(encoded[0], CENTRED) == pytest.approx(corners, abs=1e-5)
    assert encoded[0][7] == pytest.approx(detecting.encoded(corners[7].tolist(), CENTRED[7].tolist()), abs=1e-4)


def test_boxes_far_out_are_clipped_to_the_image() -> None:
    assert boxes.decoded(np.full((1, COUNT, 4), 1e6), CENTRED).max() == 1
    assert boxes.decoded(np.full((1, COUNT, 4), [0, 0, 1e6, 1e6]), CENTRED)[0, 0].tolist() == [0, 0, 1, 1]


def test_of_boxes_that_overlap_the_likeliest_remains_in_each_class() -> None:
    for _ in range(5):
        made = {name: each[0] for name, each in tensors(1).items()}
        got = boxes.detections(made["object/boxes"], made["object/scores"], CENTRED)
        corners = boxes.decoded(made["object/boxes"], CENTRED).tolist()
        chances = np.array([detecting.softmax(row) for row in made["object/scores"].tolist()])
        wanted = [
            (chances[likely[row], kind + 1], kind, corners[likely[row]])
            for kind in range(KINDS)
            for likely in [np.flatnonzero(chances[:, kind + 1] > 0.01)]
            for row in detecting.suppressed([corners[each] for each in likely], chances[likely, kind + 1])
        ]
        wanted.sort(key=lambda row: -row[0])
        assert got.classes.tolist() == [kind for _, kind, _ in wanted[:100]]
        assert got.scores == pytest.approx([score for score, _, _ in wanted[:100]])
        assert got.boxes == pytest.approx(np.array([box for _, _, box in wanted[:100]]))


def detections_near(corners, kinds) -> boxes.Detections:
    """Some of the boxes, moved a little, and some that are wrong; scores in steps of 1/8, so that many are equal."""
    rows, each = scene()
    keep = RANDOM.random(len(corners)) < 0.8
    near = np.array(corners).reshape(-1, 4)[keep] + RANDOM.normal(scale=0.02, size=(keep.sum(), 4))
    places = np.concatenate([near, np.array(rows).reshape(-1, 4)]).astype(np.float32)
    classes_ = np.array([*np.array(kinds, int)[keep], *each], np.int64)
    scores = (RANDOM.integers(1, 9, len(places)) / 8).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    return boxes.Detections(places[order], classes_[order], scores[order])


@pytest.mark.parametrize("images", [1, 4, 60])
def test_average_precision_is_cocos(images) -> None:
    for _ in range(4):
        meter, lists = AveragePrecision(), []
        for number in range(images):
            corners, kinds = scene() if number else ([[0.1, 0.1, 0.4, 0.6]], [0])
            kinds = [kind % 2 for kind in kinds]  # Of class 2 only detections occur.
            got = detections_near(corners, kinds)
            meter.add(got, np.array(corners).reshape(-1, 4), np.array(kinds, int))
            rows = zip(got.boxes.tolist(), got.classes.tolist(), got.scores.tolist(), strict=True)
            lists.append((list(rows), list(zip(corners, kinds, strict=True))))
        values = meter.value()
        assert values is not None
        assert values == pytest.approx([detecting.average_precision(lists, least) for least in LEAST_OVERLAPS])


def test_overlaps_are_judged_at_50_to_95_percent_and_boxes_without_area_have_none() -> None:
    assert [round(each, 9) for each in LEAST_OVERLAPS] == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    flat = np.array([[0.5, 0.1, 0.5, 0.9]])
    assert boxes.overlaps(flat, flat).tolist() == [[0]]


def test_of_true_boxes_that_a_detection_overlaps_equally_it_takes_the_last_as_in_coco() -> None:
    truth = np.array([[0, 0, 1, 0.75], [0, 0.25, 1, 1]])
    both, first = [0, 0, 1, 1], [0, 0, 1, 0.5]  # The second one overlaps only the first box by more than a half.
    meter = AveragePrecision()
    detected = boxes.Detections(np.array([both, first], np.float32), np.array([0, 0]), np.array([0.9, 0.8], np.float32))
    meter.add(detected, truth, np.array([0, 0]))
    values = meter.value()
    assert values is not None
    assert values[0] == 1


def test_a_network_that_answers_the_truth_reaches_100_percent_and_half_of_it_half() -> None:
    scenes = [([[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.8]], [0, 1]), ([[0.2, 0.2, 0.6, 0.6]], [0])]
    made = {"object/boxes": np.zeros((2, COUNT, 4), np.float32), "object/scores": np.zeros((2, COUNT, 4), np.float32)}
    made["object/scores"][..., 0] = 20
    for image, (rows, kinds) in enumerate(scenes):
        for number, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
            made["object/boxes"][image, number] = detecting.encoded(row, CENTRED[number].tolist())
            made["object/scores"][image, number, kind + 1] = 40
    targets = padded(scenes)
    assert measure(detection(), made, targets, batch=1) == pytest.approx({"map50": 100, "map": 100})
    made["object/scores"][0, 1, 2] = 0  # The only box of class 1 is missing.
    assert measure(detection(), made, targets) == pytest.approx({"map50": 50, "map": 50})


def test_images_without_objects_alone_have_no_figures() -> None:
    meter = filled(detection(), tensors(2), padded([([], [])] * 2))
    assert meter.values() == {}
    assert meter.notes()[0] == "map50 is left out: no example has an object."


def test_the_two_tensors_are_the_results() -> None:
    made = detection()
    assert results(made, tensors(1))[1] == {
        "object/boxes": "Net/Predictions/object/boxes",
        "object/scores": "Net/Predictions/object/scores",
    }
    assert made.sizes == {"object/boxes": 4, "object/scores": KINDS + 1}


def test_another_number_of_anchors_is_refused_with_both_numbers_and_then_taken() -> None:
    with pytest.raises(StageError, match=r"wanted +\[n, 60, 4\]\n +got +\[n, 80, 4\]") as caught:
        check(detection(), object__boxes=[None, 80, 4], object__scores=[None, 80, 4])
    assert follows("Correct anchors.feature_maps to the [rows, columns]") in caught.value.hint
    check(detection(), object__boxes=[None, COUNT, 4], object__scores=[None, COUNT, 4])
    four = {**FIELDS, "anchors": {**LAYOUT, "aspect_ratios": [1, 2, 0.5, 3]}}
    columns = {"object_boxes": Column("float32", (MOST, 4)), "object_classes": classes(KINDS, MOST)}
    check(task("object", four, **columns), object__boxes=[None, 80, 4], object__scores=[None, 80, 4])
    with pytest.raises(StageError, match=r"wanted +\[n, 60, 4\]\n +got +\[n, 60, 3\]") as caught:
        check(detection(), object__boxes=[None, COUNT, 4], object__scores=[None, COUNT, 3])
    assert not caught.value.hint


def test_missing_arrays_are_named_and_the_prefix_of_others_is_taken() -> None:
    columns = {
        f"{kind}_{each}": column
        for kind in ("cat", "dog")
        for each, column in (("boxes", Column("float32", (MOST, 4))), ("classes", classes(KINDS, MOST)))
    }
    with pytest.raises(StageError, match=r"wanted array +object_boxes") as caught:
        task("object", FIELDS, **columns)
    assert follows('An output whose "target" is X reads the arrays X_boxes and X_classes') in caught.value.hint
    assert task("object", {**FIELDS, "target": "dog"}, **columns).targets == ("dog_boxes", "dog_classes")


def test_scales_and_feature_maps_differ_in_number() -> None:
    with pytest.raises(StageError, match="a scale for each feature map"):
        task("object", {**FIELDS, "anchors": {**LAYOUT, "scales": [0.2]}})


def test_boxes_in_pixels_are_refused_and_as_parts_of_the_image_they_are_taken() -> None:
    pixels, height, width = np.array([[[2, 4, 16, 30]]]), 32, 64
    with pytest.raises(StageError) as caught:
        detection(object_boxes=Column("int32", (MOST, 4)))
    assert follows("Save boxes / [height, width, height, width] as float32") in caught.value.hint
    labels = np.zeros((1, 1), np.int32)
    with pytest.raises(StageError, match=r"example +0 at \[0, 0\]\n +value +2.0\n +wanted +0..1") as caught:
        detection().check_values({"object_boxes": pixels.astype(np.float32), "object_classes": labels})
    assert "height" in caught.value.hint
    relative = (pixels / [height, width, height, width]).astype(np.float32)
    detection().check_values({"object_boxes": relative, "object_classes": labels})


def test_boxes_a_little_outside_are_refused_and_clipped_they_are_taken() -> None:
    corners, labels = np.array([[[-0.1, 0, 0.5, 1.1]]], np.float32), np.zeros((1, 1), np.int32)
    with pytest.raises(StageError) as caught:
        detection().check_values({"object_boxes": corners, "object_classes": labels})
    assert follows("Save numpy.clip(boxes, 0, 1).") in caught.value.hint
    detection().check_values({"object_boxes": np.clip(corners, 0, 1), "object_classes": labels})


def test_boxes_of_another_order_are_refused_and_then_taken() -> None:
    x, y, width, height = 0.6, 0.2, 0.3, 0.1
    labels = np.array([[0, -1]], np.int32)
    with pytest.raises(StageError, match=r"example +0 at \[0, 2\]\n +value +0.3") as caught:
        detection().check_values(
            {"object_boxes": np.array([[[x, y, width, height], [0] * 4]]), "object_classes": labels}
        )
    assert follows("[x, y, width, height] is saved as [y, x, y + height, x + width]") in caught.value.hint
    corners = np.array([[[y, x, y + height, x + width], [0] * 4]])
    detection().check_values({"object_boxes": corners, "object_classes": labels})


def test_classes_beyond_the_last_and_columns_of_another_kind_are_refused() -> None:
    corners = np.array([[[0, 0, 0.5, 0.5]]], np.float32)
    with pytest.raises(StageError, match=r"wanted +0..2, or -1"):
        detection().check_values({"object_boxes": corners, "object_classes": np.array([[3]], np.int32)})
    with pytest.raises(StageError, match=r"wanted +int32 \[n, 5\], as many as boxes"):
        detection(object_classes=classes(KINDS, 4))
