"""The loss of an SSD as operations of a graph: Liu et al. 2016 (arXiv:1512.02325), section 2.2, "training"."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.worker.tasks.anchors import VARIANCES
from qatbuild.worker.tasks.errors import huber

LEAST_OVERLAP = 0.5
NEGATIVES = 3
"""Most anchors without an object for each one with an object: the hardest of the image."""

_SMALLEST = 1e-6


def loss(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    true_boxes: tf.Tensor,
    true_classes: tf.Tensor,
    anchors: NDArray[np.float32],
) -> tf.Tensor:
    """Returns the sum of localization and confidence loss by the number of matched anchors of the batch (equation 1).

    boxes float32 [n, anchors, 4] and scores float32 [n, anchors, classes + 1] are the network's, true_boxes float32
    [n, m, 4] and true_classes int32 [n, m], -1 beyond an image's objects. An image without objects adds nothing.
    """
    owner, matched = match(true_boxes, true_classes, anchors)
    wanted = encoded(tf.gather(true_boxes, owner, batch_dims=1), anchors)
    classes = tf.where(matched, tf.gather(true_classes, owner, batch_dims=1) + 1, tf.zeros_like(owner))
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, scores)
    counts = tf.cast(matched | _hardest(entropy, matched), tf.float32)
    places = tf.reduce_sum(huber(boxes - wanted), axis=-1) * tf.cast(matched, tf.float32)
    objects = tf.maximum(tf.reduce_sum(tf.cast(matched, tf.float32)), 1.0)
    return tf.divide(tf.reduce_sum(entropy * counts) + tf.reduce_sum(places), objects, name="detection")


def match(true_boxes: tf.Tensor, true_classes: tf.Tensor, anchors: NDArray[np.float32]) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (the object of each anchor, int32 [n, anchors]; whether the anchor is matched with it, bool).

    An anchor is matched with the object that it overlaps most, if by more than 0.5; and each object with the anchor
    that overlaps it most, however little. Where that is one anchor of several objects, the closest object gets it.
    """
    ratios = tf.where(true_classes[:, None] >= 0, _overlaps(anchors, true_boxes), -1.0)
    best = tf.argmax(ratios, axis=2, output_type=tf.int32)
    choice = tf.one_hot(tf.argmax(ratios, axis=1, output_type=tf.int32), len(anchors), axis=1)
    chosen = tf.where(choice > 0, ratios, -1.0)
    is_chosen = tf.reduce_max(chosen, axis=2) > 0
    owner = tf.where(is_chosen, tf.argmax(chosen, axis=2, output_type=tf.int32), best)
    return owner, is_chosen | (tf.reduce_max(ratios, axis=2) > LEAST_OVERLAP)


def encoded(boxes: tf.Tensor, anchors: NDArray[np.float32]) -> tf.Tensor:
    """Returns boxes [n, anchors, 4] in corners as a network predicts them; `boxes.decoded` is the inverse."""
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    size = tf.maximum(boxes[..., 2:] - boxes[..., :2], _SMALLEST)
    offsets = (centre - anchors[:, :2]) / anchors[:, 2:]
    return tf.concat([offsets, tf.math.log(size / anchors[:, 2:])], axis=-1) / VARIANCES


def _overlaps(anchors: NDArray[np.float32], boxes: tf.Tensor) -> tf.Tensor:
    """Returns intersection over union of each anchor and box: float32 [n, anchors, m]."""
    corners = np.concatenate([anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2], axis=1)
    one, other = corners[None, :, None], boxes[:, None]
    sides = tf.maximum(tf.minimum(one[..., 2:], other[..., 2:]) - tf.maximum(one[..., :2], other[..., :2]), 0.0)
    both = sides[..., 0] * sides[..., 1]
    areas = (other[..., 2] - other[..., 0]) * (other[..., 3] - other[..., 1])
    return tf.math.divide_no_nan(both, (anchors[:, 2] * anchors[:, 3])[None, :, None] + areas - both)


def _hardest(entropy: tf.Tensor, matched: tf.Tensor) -> tf.Tensor:
    """Returns which anchors without an object count, bool [n, anchors]: the largest losses, 3 for each matched."""
    hardness = tf.where(matched, -tf.ones_like(entropy), tf.stop_gradient(entropy))
    rank = tf.argsort(tf.argsort(hardness, axis=1, direction="DESCENDING"), axis=1)
    most = NEGATIVES * tf.reduce_sum(tf.cast(matched, tf.int32), axis=1, keepdims=True)
    return (rank < most) & ~matched
