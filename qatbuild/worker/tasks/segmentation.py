"""Segmentation: one class a pixel."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.outputs import Output
from qatbuild.worker.tasks import columns, ends
from qatbuild.worker.tasks.columns import Column, DatasetFacts
from qatbuild.worker.tasks.protocol import Arrays, Meter, Metric, Task, Tensors

IGNORED = 255
"""The class of pixels that neither loss nor metrics see, as in PASCAL VOC and Cityscapes."""

_METRICS = (Metric("miou", percent=True), Metric("pixel_accuracy", percent=True))
_RANK = 2


def task(name: str, output: Output, dataset: DatasetFacts, inputs: Collection[str], *, labelled: bool) -> Segmentation:
    """Makes the task. Its target is int32 or uint8 [n, height, width], the class of each pixel, counted from 0."""
    if not labelled:
        return Segmentation(name, output, None, None)
    target, column = columns.target(name, output, dataset, inputs)
    if column.dtype not in columns.INTEGERS or len(column.shape) != _RANK:
        wanted = "class numbers, int32 or uint8 [n, height, width]"
        raise columns.unfit(name, output, (target, column), wanted, _hint(column))
    return Segmentation(name, output, target, column)


def _hint(column: Column) -> str:
    if len(column.shape) == _RANK:
        return 'Save whole numbers, masks.astype("int32"); real values a pixel are the task "regression".'
    if column.shape[-1:] == (1,):
        return "Save masks[..., 0]."
    return "Save masks.argmax(axis=-1) if they are one-hot." if len(column.shape) == _RANK + 1 else ""


class Segmentation(Task):
    """The task of a segmentation: its target is the array `target` in the dataset, None without labels."""

    def __init__(self, name: str, output: Output, target: str | None, column: Column | None) -> None:
        """Makes the task."""
        classes = len(column.class_names) or None if column else None
        super().__init__(name, _METRICS if target else (), (target,) if target else (), {name: classes})
        self._classes = output.values == "classes"
        self._shape: tuple[int | None, ...] = column.shape if column else (None, None)

    def check(self, tensors: Tensors) -> None:
        """See Task. The tensor is [n, height, width, classes], as high and wide as the target."""
        shape = [*self._shape, self.sizes[self.name]]
        ends.check(self.name, "segmentation", self.name, tensors, [shape], hint=_SIZES_HINT)
        self.sizes = {self.name: tensors[self.name].shape[-1]}

    def check_values(self, targets: Arrays, first: int = 0) -> None:
        """See Task."""
        for target in self.targets:
            columns.check_classes(
                self.name, target, targets[target], self.sizes[self.name], first=first, ignored=IGNORED
            )

    def loss(self, tensors: Tensors, targets: Tensors, inputs: Tensors) -> tf.Tensor:
        """See Task. Softmax cross entropy, the mean over the batch's pixels that are not ignored."""
        del inputs
        (target,) = self.targets
        labels = tf.cast(targets[target], tf.int32)
        counts = tf.not_equal(labels, IGNORED)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.where(counts, labels, tf.zeros_like(labels)), tensors[self.name]
        )
        weights = tf.cast(counts, tf.float32)
        return tf.math.divide_no_nan(tf.reduce_sum(entropy * weights), tf.reduce_sum(weights), name="cross_entropy")

    def results(self, tensors: Tensors) -> dict[str, tf.Tensor]:
        """See Task. Of "classes" it is int32 [n, height, width]."""
        tensor = tensors[self.name]
        return {self.name: ends.classes(tensor) if self._classes else ends.identity(tensor, self.name)}

    def answers(self, results: Arrays) -> NDArray[Any]:
        """See Task. The class of each pixel, [n, height, width]."""
        values = results[self.name]
        return values if self._classes else np.argmax(values, axis=-1)

    @property
    def activations(self) -> Mapping[str, str]:
        """See Task."""
        return {self.name: "softmax"}

    @property
    def moving_targets(self) -> Mapping[str, int]:
        """See Task."""
        return dict.fromkeys(self.targets, IGNORED)

    def meter(self) -> Meter:
        """See Task."""
        return _Confusion(self.name, self.targets)


_SIZES_HINT = (
    "Upsample the logits in the network (tf.image.resize, UpSampling2D) or save masks of the network's size: both must"
    " be equally high and wide."
)


class _Confusion(Meter):
    """Counts pixels by true and predicted class; miou is the mean over the classes that occur in the truth.

    Intersection over union of a class: true positives / (true positives + false positives + false negatives), over
    all pixels of all examples (Everingham et al. 2010, PASCAL VOC).
    """

    def __init__(self, name: str, targets: tuple[str, ...]) -> None:
        self._name, self._targets = name, targets
        self._counts = np.zeros((0, 0), np.int64)

    def add(self, results: Arrays, targets: Arrays) -> None:
        for target in self._targets:
            truth = targets[target].astype(np.int64)
            got = results[self._name]
            size = got.shape[-1] if got.ndim > truth.ndim else int(got.max(initial=0)) + 1
            answer = got.argmax(axis=-1) if got.ndim > truth.ndim else got.astype(np.int64)
            counts = truth != IGNORED
            truth, answer = truth[counts], answer[counts]
            self._grow(max(size, int(truth.max(initial=0)) + 1))
            size = len(self._counts)
            self._counts += np.bincount(truth * size + answer, minlength=size * size).reshape(size, size)

    def _grow(self, size: int) -> None:
        more = max(size - len(self._counts), 0)
        self._counts = np.pad(self._counts, ((0, more), (0, more)))

    def measured(self) -> dict[str, float | str]:
        if not self._targets:
            return {}
        pixels, right = self._counts.sum(axis=1), np.diag(self._counts)
        occurs = pixels > 0
        if not occurs.any():
            return dict.fromkeys((metric.name for metric in _METRICS), "no pixel has a class.")
        union = pixels + self._counts.sum(axis=0) - right
        miou = float(np.mean(right[occurs] / union[occurs]))
        return {"miou": 100 * miou, "pixel_accuracy": 100 * float(right.sum() / pixels.sum())}
