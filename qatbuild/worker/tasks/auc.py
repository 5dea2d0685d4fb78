"""The area under the receiver operating characteristic, of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score


class Scores:
    """Scores with their labels, one float32 and one byte an example and column: what an auc needs."""

    def __init__(self) -> None:
        """Begins without examples."""
        self._scores: list[NDArray[np.float32]] = []
        self._labels: list[NDArray[np.uint8]] = []

    def add(self, scores: NDArray[Any], labels: NDArray[Any]) -> None:
        """Adds scores and labels 0 or 1, both [n, columns]."""
        self._scores.append(scores.astype(np.float32))
        self._labels.append(labels.astype(np.uint8))

    def value(self) -> float | str:
        """Returns the mean auc over the columns with both labels, 0..1; a sentence if no column has both.

        A column with one label only has no auc and does not count.
        """
        if not self._scores:
            return "no example was measured."
        scores, labels = np.concatenate(self._scores), np.concatenate(self._labels)
        if not np.isfinite(scores).all():
            return "the scores are not finite."
        both = np.flatnonzero((labels.min(axis=0) == 0) & (labels.max(axis=0) == 1))
        if not len(both):
            return f"all examples have the label {labels[0, 0]}." if labels.shape[1] == 1 else _ONE_LABEL
        return float(np.mean([roc_auc_score(labels[:, column], scores[:, column]) for column in both]))


_ONE_LABEL = "in each column all examples have the same label."
