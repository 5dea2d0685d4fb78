"""The typed values of a spec: one named tuple for each object of spec.schema.json.

Field names, defaults, meaning and units are those of spec.schema.json; a test compares the two. typed.py fills in
defaults that depend on other fields (a fifth of train.steps), so that each stage's settings are complete.

Every build creates these classes first, so they are named tuples: a frozen dataclass takes six times as long to create,
and annotations given as text would have to be compiled.
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
"""The fields that hold a path or a list of paths, which a spec writes relative to its own file."""


class Dataset(NamedTuple):
    """The source of the images. `path` is absolute here."""

    name: str = "digits"
    path: str | None = None
    url: str | None = None
    sha256: str | None = None
    validation: float = 0.1


class Input(NamedTuple):
    """The scaling of the input: real = (byte - mean) / std_dev."""

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
    """The optimizer and its constants."""

    name: str = "momentum"
    momentum: float = 0.9
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


class Train(NamedTuple):
    """The float training. `steps` is 0 only if the spec has trained weights and no `train`."""

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
    """The measurement of ranges. `percentile` is a number only with the range "percentile"."""

    images: int | None = None
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
    """The quantization. The fields of the other method keep their defaults."""

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
    """The measurements, and the least results of a model that counts as built."""

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
    """Converts a typed value to JSON's types: named tuples and mappings become dicts, other tuples lists."""
    if isinstance(value, tuple):
        fields = getattr(value, "_fields", None)
        return list(map(plain, value)) if fields is None else dict(zip(fields, map(plain, value), strict=True))
    return {name: plain(each) for name, each in value.items()} if isinstance(value, Mapping) else value
