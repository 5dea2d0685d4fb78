"""The anchors of an SSD: Liu et al. 2016 (arXiv:1512.02325), section 2.2, "choosing scales and aspect ratios"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.outputs import Anchors

VARIANCES = np.array([0.1, 0.1, 0.2, 0.2], np.float32)
"""What a box as a network predicts it is divided by: centre and size."""


def centred(anchors: Anchors) -> NDArray[np.float32]:
    """Returns the anchors, float32 [anchors, 4]: centre y, centre x, height, width, as parts of the image's sides.

    Their order is that of the feature maps, then row, column and aspect ratio: a convolution's [n, rows, columns,
    ratios * 4], reshaped to [n, rows * columns * ratios, 4], has it. With scale s and aspect ratio a (width / height)
    an anchor is s / sqrt(a) high and s * sqrt(a) wide. The paper's additional anchor of ratio 1 is not made.
    """
    ratios = np.sqrt(np.array(anchors.aspect_ratios, np.float64))
    parts = []
    for (rows, columns), scale in zip(anchors.feature_maps, anchors.scales, strict=True):
        shape = rows, columns, len(ratios)
        y = np.broadcast_to(((np.arange(rows) + 0.5) / rows)[:, None, None], shape)
        x = np.broadcast_to(((np.arange(columns) + 0.5) / columns)[None, :, None], shape)
        height, width = np.broadcast_to(scale / ratios, shape), np.broadcast_to(scale * ratios, shape)
        parts.append(np.stack([y, x, height, width], axis=-1).reshape(-1, 4))
    return np.concatenate(parts).astype(np.float32)
