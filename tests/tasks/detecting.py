"""A detector's parts, written naively, loop by loop, from the definitions: the reference of the tests.

Anchors and boxes here are lists of numbers. SSD: arXiv:1512.02325. Average precision: COCO's.
"""

from __future__ import annotations

import math


def overlap(one, other) -> float:
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    if height <= 0 or width <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return height * width / (areas[0] + areas[1] - height * width)


def corners(anchor):
    y, x, height, width = anchor
    return [y - height / 2, x - width / 2, y + height / 2, x + width / 2]


def matches(anchors, boxes) -> dict[int, int]:
    """anchor -> its box: each box has its best anchor, all other anchors the box that they overlap by more than 0.5."""
    ratios = [[overlap(corners(anchor), box) for box in boxes] for anchor in anchors]
    result = {}
    for number, row in enumerate(ratios):
        if boxes and max(row) > 0.5:
            result[number] = row.index(max(row))
    wishes: dict[int, list[int]] = {}
    for box in range(len(boxes)):
        column = [row[box] for row in ratios]
        wishes.setdefault(column.index(max(column)), []).append(box)
    for anchor, wishing in wishes.items():
        result[anchor] = max(wishing, key=lambda box: ratios[anchor][box])
    return result


def encoded(box, anchor) -> list[float]:
    y, x, height, width = anchor
    return [
        ((box[0] + box[2]) / 2 - y) / height / 0.1,
        ((box[1] + box[3]) / 2 - x) / width / 0.1,
        math.log((box[2] - box[0]) / height) / 0.2,
        math.log((box[3] - box[1]) / width) / 0.2,
    ]


def loss(boxes, scores, truths, classes, anchors) -> float:
    """Equation 1 over a batch of lists: truths and classes hold only the objects of each image."""
    total, objects = 0.0, 0
    for places, answers, image, labels in zip(boxes, scores, truths, classes, strict=True):
        owners = matches(anchors, image)
        losses = [
            -math.log(softmax(answer)[labels[owners[number]] + 1 if number in owners else 0])
            for number, answer in enumerate(answers)
        ]
        for number, owner in owners.items():
            total += losses[number]
            for got, wanted in zip(places[number], encoded(image[owner], anchors[number]), strict=True):
                apart = abs(got - wanted)
                total += apart**2 / 2 if apart < 1 else apart - 0.5
        others = sorted((value for number, value in enumerate(losses) if number not in owners), reverse=True)
        total += sum(others[: 3 * len(owners)])
        objects += len(owners)
    return total / max(objects, 1)


def softmax(values) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def suppressed(boxes, scores) -> list[int]:
    """The boxes that remain, the likeliest first: a box goes if it overlaps one of them by more than 0.45."""
    remaining: list[int] = []
    for number in sorted(range(len(boxes)), key=lambda each: -scores[each]):
        if all(overlap(boxes[number], boxes[other]) <= 0.45 for other in remaining):
            remaining.append(number)
    return remaining


def average_precision(images, least: float) -> float:
    """The mean over classes; an image is ([(box, class, score)], [(box, class)])."""
    classes = {each for _, truths in images for _, each in truths}
    return sum(_of_class(images, each, least) for each in classes) / len(classes)


def _of_class(images, wanted: int, least: float) -> float:
    answers = []
    objects = 0
    for detections, truths in images:
        boxes = [box for box, each in truths if each == wanted]
        objects += len(boxes)
        taken: set[int] = set()
        mine = [(box, score) for box, each, score in detections if each == wanted]
        for box, score in sorted(mine, key=lambda pair: -pair[1]):
            best, ratio = None, least
            for number, truth in enumerate(boxes):
                if number not in taken and overlap(box, truth) >= ratio:
                    best, ratio = number, overlap(box, truth)
            if best is not None:
                taken.add(best)
            answers.append((score, best is not None))
    answers.sort(key=lambda pair: -pair[0])
    points = []
    right = 0
    for count, (_, hit) in enumerate(answers, 1):
        right += hit
        points.append((right / objects, right / count))
    total = 0.0
    for step in range(101):
        total += max((precision for recall, precision in points if recall >= step / 100), default=0.0)
    return total / 101
