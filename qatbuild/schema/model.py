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
    ("dataset", "table"),
    ("model", "weights"),
    ("model", "files"),
    ("model", "keras"),
    ("model", "saved_model"),
    ("model", "graph_def"),
    ("model", "meta_graph"),
    ("deploy", "vela", "config"),
)
"""The fields that hold a path or a list of paths, which a spec writes relative to its own file."""


Range = tuple[float, float]


class Splits(NamedTuple):
    """The folders of the splits, below the dataset's path."""

    train: str = "train"
    validation: str = "validation"
    test: str = "test"


class Feature(NamedTuple):
    """A feature of a tf.train.Example. `shape` None: what the feature holds."""

    feature: str
    kind: str
    shape: tuple[int, ...] | None = None


class Dataset(NamedTuple):
    """The source of the examples. `path` and `table` are absolute here."""

    name: str = "digits"
    path: str | None = None
    url: str | None = None
    sha256: str | None = None
    validation: float = 0.1
    labels: bool = True
    size: tuple[int, int] | None = None
    resize: str = "crop"
    color: str | None = None
    background: tuple[int, ...] = (0, 0, 0)
    skip_damaged: bool = False
    table: str | None = None
    splits: Splits = Splits()
    test: float | None = None
    features: Mapping[str, Feature] = MappingProxyType({})
    call: str | None = None
    options: Mapping[str, Any] = MappingProxyType({})


class Input(NamedTuple):
    """An input of bytes, real = (byte - mean) / std_dev, by channel if these are lists; or one of real values."""

    mean: float | tuple[float, ...] | None = None
    std_dev: float | tuple[float, ...] | None = None
    order: str = "rgb"
    real: bool = False
    range: Range | None = None


class Anchors(NamedTuple):
    """The anchors of a detection: grids of [height, width], and one scale for each."""

    feature_maps: tuple[tuple[int, int], ...]
    scales: tuple[float, ...]
    aspect_ratios: tuple[float, ...] = (1, 2, 0.5)


class Metric(NamedTuple):
    """A metric of the project's own, package.module:function."""

    call: str
    better: str = "higher"


class Output(NamedTuple):
    """One output. A task without a choice of `loss` or `values` has None.

    Without a `target`, the dataset's array of the output's name is compared (of a reconstruction, the input).
    """

    task: str
    loss: str | None = None
    weight: float = 1.0
    values: str | None = None
    anchors: Anchors | None = None
    metrics: Mapping[str, Metric] = MappingProxyType({})
    range: Range | None = None
    target: str | None = None


class Augment(NamedTuple):
    """Random changes to training images."""

    pad_crop: int = 0
    flip_left_right: bool = False


class Model(NamedTuple):
    """The network. `options` are its keyword arguments; `weights` is an absolute checkpoint prefix.

    `keras`, `saved_model`, `graph_def`, `meta_graph` and `files` are absolute paths; `signature` is the saved model's;
    `input`, `output`, `logits` and the values of `inputs` and `outputs` name tensors of the file.
    """

    name: str | None = None
    call: str | None = None
    options: Mapping[str, Any] = MappingProxyType({})
    keras: str | None = None
    saved_model: str | None = None
    signature: str | None = None
    graph_def: str | None = None
    meta_graph: str | None = None
    input: str | None = None
    inputs: Mapping[str, str] | None = None
    output: str | None = None
    outputs: Mapping[str, str] | None = None
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


class Gate(NamedTuple):
    """Limits of one metric, in the metric's unit."""

    min: float | None = None
    max: float | None = None
    max_drop: float | None = None


class Evaluate(NamedTuple):
    """The measurements, and the results that a model must reach to count as built.

    `gates` are by metric, of several outputs by OUTPUT.METRIC; the limits of top-1 are for a classification.
    """

    gates: Mapping[str, Gate] = MappingProxyType({})
    max_accuracy_drop: float = 1.0
    min_top1: float | None = None
    min_agreement: float | None = None
    latency_runs: int = 100


class Card(NamedTuple):
    """What only the author of a model knows, for its model card."""

    version: str = ""
    license: str = ""
    authors: tuple[str, ...] = ()
    architecture_family: str = ""
    users: tuple[str, ...] = ()
    use_cases: tuple[str, ...] = ()
    limitations: tuple[str, ...] = ()
    risks: Mapping[str, str] = MappingProxyType({})
    fairness: Mapping[str, str] = MappingProxyType({})
    sensitive_data: tuple[str, ...] = ()


class About(NamedTuple):
    """What a spec says about its model for people; no result depends on it."""

    description: str = ""
    card: Card = Card()


class Variant(NamedTuple):
    """One model to build: a spec without variants, or one of its variants, under its label."""

    label: str
    file: Path
    description: str
    dataset: Dataset
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    augment: Augment
    model: Model
    train: Train
    quantize: Quantize
    convert: Convert
    evaluate: Evaluate
    deploy: Mapping[str, Route] = MappingProxyType({})
    card: Card = Card()

    @property
    def about(self) -> About:
        """What the spec says about the model for people."""
        return About(self.description, self.card)


def plain(value: Any) -> Any:
    """Converts a typed value to JSON's types: named tuples and mappings become dicts, other tuples lists."""
    if isinstance(value, tuple):
        fields = getattr(value, "_fields", None)
        return list(map(plain, value)) if fields is None else dict(zip(fields, map(plain, value), strict=True))
    return {name: plain(each) for name, each in value.items()} if isinstance(value, Mapping) else value
