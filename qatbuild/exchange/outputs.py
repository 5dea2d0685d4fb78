"""The outputs of a spec: which task each of a network's outputs has, and how it is trained and judged."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

_LOSSES = MappingProxyType({"regression": "mse", "reconstruction": "mse"})
_VALUES = MappingProxyType({"classification": "probabilities", "segmentation": "logits"})


class Anchors(NamedTuple):
    """The anchors of a detection: boxes of each scale and aspect ratio on the cells of each feature map.

    `feature_maps` are [rows, columns], `scales` one for each of them, as a part of the image's side; `aspect_ratios`
    are width / height and the same in every feature map.
    """

    feature_maps: tuple[tuple[int, int], ...]
    scales: tuple[float, ...]
    aspect_ratios: tuple[float, ...]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Anchors:
        """Reads the setting "anchors" of an output."""
        return cls(
            feature_maps=tuple((int(rows), int(columns)) for rows, columns in fields["feature_maps"]),
            scales=tuple(map(float, fields["scales"])),
            aspect_ratios=tuple(map(float, fields["aspect_ratios"])),
        )

    @property
    def number(self) -> int:
        """How many anchors an image has."""
        return sum(rows * columns for rows, columns in self.feature_maps) * len(self.aspect_ratios)


class OwnMetric(NamedTuple):
    """A metric of the user: "package.module:function", and which values are better: "higher" or "lower"."""

    call: str
    better: str


class Output(NamedTuple):
    """One output of a network: its task, and the options of the task; those of other tasks are left empty.

    loss      regression, reconstruction: mse, mae or huber; call: "package.module:function"
    weight    factor of the loss in the sum over all outputs
    values    classification: probabilities or logits; segmentation: classes or logits
    anchors   of a detection
    metrics   of the task `call`, by name; the first one gates
    range     fixed range of the integer output (regression, reconstruction, call); None: learnt or measured
    target    name of the dataset's array; None: the output's own name (reconstruction: the input)
    """

    task: str = "classification"
    loss: str | None = None
    weight: float = 1.0
    values: str | None = None
    anchors: Anchors | None = None
    metrics: Mapping[str, OwnMetric] = MappingProxyType({})
    range: tuple[float, float] | None = None
    target: str | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Output:
        """Reads one of the setting "outputs"; what is absent or null has its default."""
        task = str(fields.get("task") or "classification")
        anchors, ends = fields.get("anchors"), fields.get("range")
        weight = fields.get("weight")
        return cls(
            task=task,
            loss=fields.get("loss") or _LOSSES.get(task),
            weight=1.0 if weight is None else float(weight),
            values=fields.get("values") or _VALUES.get(task),
            anchors=Anchors.of(anchors) if anchors else None,
            metrics={
                name: OwnMetric(each["call"], each["better"]) for name, each in (fields.get("metrics") or {}).items()
            },
            range=(float(ends[0]), float(ends[1])) if ends else None,
            target=fields.get("target"),
        )


def read_outputs(settings: Mapping[str, Any]) -> dict[str, Output]:
    """Reads the setting "outputs" of a request, by name and in its order."""
    return {name: Output.of(fields) for name, fields in settings["outputs"].items()}
