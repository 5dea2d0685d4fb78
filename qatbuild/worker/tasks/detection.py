"""Detection: boxes with classes, by an SSD (Liu et al. 2016, arXiv:1512.02325)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.outputs import Anchors, Output
from qatbuild.worker.tasks import anchors, boxes, columns, ends, matching
from qatbuild.worker.tasks.average_precision import AveragePrecision
from qatbuild.worker.tasks.columns import DatasetFacts
from qatbuild.worker.tasks.protocol import Arrays, Meter, Metric, Task, Tensors

_METRICS = (Metric("map50", percent=True), Metric("map", percent=True))
_BOXES, _CLASSES = "_boxes", "_classes"
_CORNERS = 4
_RANK = 2
_ROUNDING = 1e-4
_PIXELS = 1.5


def task(name: str, output: Output, dataset: DatasetFacts, inputs: Collection[str], *, labelled: bool) -> Detection:
    """Makes the task. Its targets are TARGET_boxes float32 [n, m, 4], and TARGET_classes int32 [n, m].

    Boxes are [ymin, xmin, ymax, xmax], 0..1. An image with fewer than m objects has the class -1 in the rest.
    """
    del inputs
    if output.anchors is None or len(output.anchors.scales) != len(output.anchors.feature_maps):
        wanted = "feature_maps, aspect_ratios, and a scale for each feature map"
        facts = [("setting", f"outputs.{name}.anchors"), ("wanted", wanted), ("got", output.anchors or "nothing")]
        raise StageError("A detection lacks anchors.", facts)
    if not labelled:
        return Detection(name, output.anchors, (), None)
    prefix = _prefix(name, output, dataset)
    targets = f"{prefix}{_BOXES}", f"{prefix}{_CLASSES}"
    for target in targets:
        if target not in dataset.columns:
            hint = f'An output whose "target" is X reads the arrays X_boxes and X_classes; without it X is {name}.'
            raise columns.missing(name, output, target, dataset, hint)
    _check_columns(name, output, dataset, targets)
    return Detection(name, output.anchors, targets, len(dataset.columns[targets[1]].class_names) or None)


def _prefix(name: str, output: Output, dataset: DatasetFacts) -> str:
    prefixes = [column.removesuffix(_BOXES) for column in dataset.columns if column.endswith(_BOXES)]
    return output.target or (prefixes[0] if len(prefixes) == 1 and name not in prefixes else name)


def _check_columns(name: str, output: Output, dataset: DatasetFacts, targets: tuple[str, str]) -> None:
    corners, classes = (dataset.columns[target] for target in targets)
    shape = corners.shape
    if corners.dtype != "float32" or len(shape) != _RANK or shape[1] != _CORNERS or not shape[0]:
        hint = _RELATIVE if corners.dtype in columns.INTEGERS else ""
        raise columns.unfit(name, output, (targets[0], corners), "float32 [n, m, 4]", hint)
    if classes.dtype != "int32" or classes.shape != shape[:1]:
        raise columns.unfit(name, output, (targets[1], classes), f"int32 [n, {shape[0]}], as many as boxes")


_RELATIVE = "Save boxes / [height, width, height, width] as float32: they are parts of the image, 0..1."
_LAYERS_HINT = (
    "Correct anchors.feature_maps to the [rows, columns] of the layers that predict, or let these predict {} anchors:"
    " rows * columns * aspect_ratios of each feature map."
)
_ORDER_HINT = (
    "Boxes are [ymin, xmin, ymax, xmax]; [x, y, width, height] is saved as [y, x, y + height, x + width]. What is only"
    " there to fill up has the class -1."
)


class Detection(Task):
    """The task of a detection; `classes` without the background, None if the network decides."""

    def __init__(self, name: str, layout: Anchors, targets: tuple[str, ...], classes: int | None) -> None:
        """Makes the task."""
        self._boxes, self._scores = f"{name}/boxes", f"{name}/scores"
        sizes = {self._boxes: _CORNERS, self._scores: classes and classes + 1}
        super().__init__(name, _METRICS if targets else (), targets, sizes)
        self._anchors = anchors.centred(layout)

    def check(self, tensors: Tensors) -> None:
        """See Task. NAME/boxes is [n, anchors, 4], NAME/scores [n, anchors, classes + 1] with the background first."""
        number = len(self._anchors)
        for tensor in (self._boxes, self._scores):
            shape = tensors[tensor].shape.as_list() if tensor in tensors else []
            hint = _LAYERS_HINT.format(number) if shape[1:2] != [number] else ""
            ends.check(self.name, "detection", tensor, tensors, [[number, self.sizes[tensor]]], hint=hint)
        self.sizes = {self._boxes: _CORNERS, self._scores: tensors[self._scores].shape[-1]}

    def check_values(self, targets: Arrays, first: int = 0) -> None:
        """See Task."""
        if not self.targets:
            return
        corners, classes = (targets[target] for target in self.targets)
        size = self.sizes[self._scores]
        columns.check_classes(self.name, self.targets[1], classes, size and size - 1, first=first, ignored=-1)
        objects = (classes >= 0)[..., None]
        bad = ~((corners >= -_ROUNDING) & (corners <= 1 + _ROUNDING)) & objects
        if bad.any():
            hint = _RELATIVE if corners[bad].max() > _PIXELS else "Save numpy.clip(boxes, 0, 1)."
            raise columns.out_of_range(self.name, self.targets[0], corners, bad, "0..1", first=first, hint=hint)
        bad = np.pad(corners[..., 2:] <= corners[..., :2], ((0, 0), (0, 0), (2, 0))) & objects
        if bad.any():
            wanted = "more than ymin (of xmax: xmin)"
            raise columns.out_of_range(self.name, self.targets[0], corners, bad, wanted, first=first, hint=_ORDER_HINT)

    def loss(self, tensors: Tensors, targets: Tensors, inputs: Tensors) -> tf.Tensor:
        """See Task."""
        del inputs
        true_boxes, true_classes = (targets[target] for target in self.targets)
        return matching.loss(tensors[self._boxes], tensors[self._scores], true_boxes, true_classes, self._anchors)

    def results(self, tensors: Tensors) -> dict[str, tf.Tensor]:
        """See Task. Both tensors as they are: they are decoded outside the integers."""
        return {name: ends.identity(tensors[name], name) for name in (self._boxes, self._scores)}

    @property
    def moving_targets(self) -> Mapping[str, int] | None:
        """See Task. Boxes are no pixels."""
        return None

    def meter(self) -> Meter:
        """See Task."""
        return _Precision((self._boxes, self._scores), self.targets, self._anchors)


class _Precision(Meter):
    def __init__(self, tensors: tuple[str, str], targets: tuple[str, ...], centred: NDArray[np.float32]) -> None:
        self._tensors, self._targets, self._anchors = tensors, targets, centred
        self._precision = AveragePrecision()

    def add(self, results: Arrays, targets: Arrays) -> None:
        if not self._targets:
            return
        truth = zip(*(targets[target] for target in self._targets), strict=True)
        answers = zip(*(results[tensor] for tensor in self._tensors), strict=True)
        for (corners, classes), (places, scores) in zip(truth, answers, strict=True):
            objects = classes >= 0
            detected = boxes.detections(places, scores, self._anchors)
            self._precision.add(detected, corners[objects], classes[objects])

    def measured(self) -> dict[str, float | str]:
        if not self._targets:
            return {}
        values = self._precision.value()
        if values is None:
            return dict.fromkeys((metric.name for metric in _METRICS), "no example has an object.")
        return {"map50": 100 * float(values[0]), "map": 100 * float(values.mean())}
