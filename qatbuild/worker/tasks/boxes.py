"""Reading a detection outside the network, in NumPy: decoding boxes, and suppressing those that overlap.

Boxes are [ymin, xmin, ymax, xmax] as parts of the image's height and width, 0..1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.tasks.anchors import VARIANCES

LEAST_SCORE = 0.01
"""As in the paper (arXiv:1512.02325, section 3): boxes of a lower probability are left out."""

LARGEST_OVERLAP = 0.45
"""As in the paper: of two boxes of one class that overlap more, the one with the lower probability is left out."""

_CANDIDATES = 200
"""Most boxes a class before the suppression, the likeliest."""

_KEPT = 100
"""Most boxes an image, over all classes: as for COCO."""

_LARGEST_GROWTH = 10.0
"""Before exp: a box that is e^10 anchors wide is as wide as the image anyway."""

Boxes = NDArray[np.float32]


class Detections(NamedTuple):
    """What was detected in an image: boxes float32 [k, 4], classes int64 [k] from 0 on, scores float32 [k], falling."""

    boxes: Boxes
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]


def detections(boxes: NDArray[Any], scores: NDArray[Any], anchors: Boxes) -> Detections:
    """Returns what a network detected in one image, at most 100 boxes.

    `boxes` [anchors, 4] and `scores` [anchors, classes + 1] are its tensors, the background is class 0 of the scores;
    `anchors` are centred, [anchors, 4].
    """
    corners, chances = decoded(boxes, anchors), _softmax(scores)[:, 1:]
    kept: list[tuple[NDArray[np.intp], int]] = []
    for each in np.flatnonzero((chances > LEAST_SCORE).any(axis=0)).tolist():
        likely = np.flatnonzero(chances[:, each] > LEAST_SCORE)
        order = likely[np.argsort(-chances[likely, each], kind="stable")][:_CANDIDATES]
        kept.append((order[_separate(corners[order])], each))
    index = np.concatenate([rows for rows, _ in kept]) if kept else np.zeros(0, np.intp)
    classes = np.repeat([each for _, each in kept], [len(rows) for rows, _ in kept]).astype(np.int64)
    values = chances[index, classes]
    best = np.argsort(-values, kind="stable")[:_KEPT]
    return Detections(corners[index[best]], classes[best], values[best])


def decoded(boxes: NDArray[Any], anchors: Boxes) -> Boxes:
    """Returns the corners of boxes [..., anchors, 4] as the network predicts them, clipped to the image.

    The four numbers are (y - anchor y) / anchor height / 0.1, the same of x and width, and log(height / anchor height)
    / 0.2, the same of width: equation 2 of the paper, with the variances of its implementation.
    """
    values = boxes.astype(np.float32) * VARIANCES
    centre = values[..., :2] * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(np.minimum(values[..., 2:], _LARGEST_GROWTH)) * anchors[:, 2:] / 2
    corners: Boxes = np.clip(np.concatenate([centre - half, centre + half], axis=-1), 0, 1).astype(np.float32)
    return corners


def overlaps(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Returns intersection over union of boxes [n, 4] and [m, 4]: float64 [n, m]; 0 for boxes without area."""
    one, other = first.astype(np.float64), second.astype(np.float64)
    both = _common(one, other, 0) * _common(one, other, 1)
    either = _areas(one)[:, None] + _areas(other)[None] - both
    ratios: NDArray[np.float64] = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    return ratios


def _common(one: NDArray[np.float64], other: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Returns how far each two boxes overlap along an axis: [n, m]."""
    last = np.minimum(one[:, None, axis + 2], other[None, :, axis + 2])
    length: NDArray[np.float64] = np.maximum(last - np.maximum(one[:, None, axis], other[None, :, axis]), 0)
    return length


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)
    return areas


def _separate(boxes: Boxes) -> NDArray[np.bool_]:
    """Returns which of the boxes [n, 4], the likeliest first, remain: those that overlap no likelier one that does."""
    remains = np.ones(len(boxes), bool)
    close = overlaps(boxes, boxes) > LARGEST_OVERLAP
    for row in range(len(boxes)):
        if remains[row]:
            remains[row + 1 :] &= ~close[row, row + 1 :]
    return remains


def _softmax(scores: NDArray[Any]) -> NDArray[np.float32]:
    powers = np.exp(scores.astype(np.float32) - scores.max(axis=-1, keepdims=True))
    chances: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return chances
