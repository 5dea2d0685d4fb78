"""What the user wrote, as typed values: one named tuple for each object of schema.json.

Field names, defaults and meaning are schema.json's (a test holds the two together); units stand there. Values that
depend on other fields (a fifth of train.steps) are filled in by typed.py, so that a stage's slice is complete.

Named tuples, for a build of one spec makes these classes first: a frozen dataclass takes six times as long to make, and
annotations that are texts would have to be compiled.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from qatbuild.schema.routes import Route

PATHS: tuple[tuple[str, ...], ...] = (
    ("dataset", "path"),
    ("model", "weights"),
    ("model", "files"),
    ("model", "keras"),
    ("model", "meta_graph"),
    ("deploy", "vela", "config"),
)
"""The fields that hold a path, or a list of them, in a spec relative to the file that it is written in."""


class Dataset(NamedTuple):
    """Where the images come from. `path` is absolute here."""

    name: str = "digits"
    path: str | None = None
    url: str | None = None
    sha256: str | None = None
    validation: float = 0.1


class Input(NamedTuple):
    """real = (byte - mean) / std_dev."""

    mean: float
    std_dev: float


class Augment(NamedTuple):
    """Random changes to training images."""

    pad_crop: int = 0
    flip_left_right: bool = False


class Model(NamedTuple):
    """The network. `options` are its keyword arguments; `weights` is an absolute checkpoint prefix.

    `keras`, `meta_graph` and `files` are absolute paths; `input` and `logits` name tensors of the meta graph.
    """

    name: str | None = None
    call: str | None = None
    options: Mapping[str, Any] = MappingProxyType({})
    keras: str | None = None
    meta_graph: str | None = None
    input: str | None = None
    logits: str | None = None
    weights: str | None = None
    files: tuple[str, ...] = ()


class LearningRate(NamedTuple):
    """The learning rate as a function of the step."""

    initial: float
    schedule: str = "constant"
    final: float = 0.0
    decay_steps: int | None = None
    decay_rate: float | None = None
    boundaries: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    warm_up_steps: int = 0


class Optimizer(NamedTuple):
    """How a gradient changes the weights."""

    name: str = "momentum"
    momentum: float = 0.9
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


class Train(NamedTuple):
    """The float training. `steps` is 0 only where weights are given and train is absent."""

    steps: int
    learning_rate: LearningRate
    batch_size: int = 128
    optimizer: Optimizer = Optimizer()
    weight_decay: float = 0.0
    seed: int = 1
    precision: str = "float32"
    checkpoint_every: int | None = None
    log_every: int = 100


class Calibration(NamedTuple):
    """How ranges are measured. `percentile` is None unless `range` is "percentile"."""

    images: int = 512
    range: str = "min_max"
    percentile: float | None = None


Range = tuple[float, float]


class Override(NamedTuple):
    """An exception for the layers that match the pattern `layer`."""

    layer: str
    range: Range | None = None
    bits: int | None = None
    float: bool = False


class Quantize(NamedTuple):
    """How the network becomes 8 bits. What belongs to the other method has its default."""

    mode: str = "integer"
    method: str = "qat"
    scheme: str = "uint8"
    start: str = "float"
    steps: int | None = None
    quant_delay: int = 0
    freeze_bn_delay: int | None = None
    learning_rate: LearningRate | None = None
    checkpoint_every: int | None = None
    calibration: Calibration = Calibration()
    overrides: tuple[Override, ...] = ()


class Convert(NamedTuple):
    """From checkpoint to .tflite."""

    checkpoint: str | int = "last"


class Evaluate(NamedTuple):
    """What the model must reach to count as built."""

    max_accuracy_drop: float = 1.0
    min_top1: float | None = None
    min_agreement: float | None = None
    latency_runs: int = 100


class Variant(NamedTuple):
    """One model to build: a spec without variants, or one of its variants, under its label."""

    label: str
    file: Path
    description: str
    dataset: Dataset
    input: Input
    augment: Augment
    model: Model
    train: Train
    quantize: Quantize
    convert: Convert
    evaluate: Evaluate
    deploy: Mapping[str, Route] = MappingProxyType({})


def plain(value: Any) -> Any:
    """A typed value as JSON has it: named tuples and mappings become dicts, other tuples lists."""
    if isinstance(value, tuple):
        fields = getattr(value, "_fields", None)
        return list(map(plain, value)) if fields is None else dict(zip(fields, map(plain, value), strict=True))
    return {name: plain(each) for name, each in value.items()} if isinstance(value, Mapping) else value
