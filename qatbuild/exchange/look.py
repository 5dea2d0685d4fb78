"""What crosses the halves when the user's data are looked at, before a spec names them: questions and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.exchange.facts import plain

BYTES = "uint8"
"""The type of an input of bytes; others are float32."""


class DataQuestion(NamedTuple):
    """A look at the data at `path`: a folder or a file.

    `size` [height, width] is that which pictures are to have, () if the pictures decide. `most_px` is the largest side
    that is proposed for pictures where nothing else decides. With `labels` the examples have targets: the arrays
    `targets`, () if the data decide. `network` is the file of a trained network, '' for another one.
    """

    path: str
    labels: bool = True
    targets: Sequence[str] = ()
    size: Sequence[int] = ()
    most_px: int = 96
    network: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> DataQuestion:
        """Reads what `plain` of a question wrote."""
        return cls(**fields)


class NetworkLook(NamedTuple):
    """What a Keras file says of itself: the shape of one example of its lone input, and whether it scales bytes."""

    shape: Sequence[int | None] = ()
    scales: bool = False


class InputLook(NamedTuple):
    """An input: its column, and of one example the type and the shape, and the values that were seen."""

    name: str
    dtype: str
    shape: Sequence[int]
    mean: float
    std: float
    least: float
    greatest: float


class TargetLook(NamedTuple):
    """A target: its column, its task, and the last dimension of what the network computes for it.

    `class_counts` are the training examples of each class by name, empty for a regression.
    """

    name: str
    task: str
    outputs: int
    class_counts: Mapping[str, int]


class DataLook(NamedTuple):
    """The data as a spec can name them.

    `dataset` are fields of the spec's `dataset` other than `path` and `table`, whose files are `path` and `table` (''
    for none). `counts` are examples by split; without "test" the data have none. `sampled` examples were looked at.
    `remarks` are sentences about what is unusual.
    """

    path: str
    table: str
    dataset: Mapping[str, Any]
    inputs: Sequence[InputLook]
    targets: Sequence[TargetLook]
    counts: Mapping[str, int]
    sampled: int
    remarks: Sequence[str] = ()
    network: NetworkLook = NetworkLook()

    @property
    def examples(self) -> int:
        """The number of examples in all splits."""
        return sum(self.counts.values())

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> DataLook:
        """Reads what `plain` of a look wrote."""
        inputs = tuple(InputLook(**each) for each in fields["inputs"])
        targets = tuple(TargetLook(**each) for each in fields["targets"])
        return cls(**{**fields, "inputs": inputs, "targets": targets, "network": NetworkLook(**fields["network"])})


class SpeedQuestion(NamedTuple):
    """How long a step of a training takes: of the spec's `model`, with its file at `file` ('' for none).

    `inputs` are the shapes of one example, `outputs` the last dimensions of the results, both by name. Modules are
    those of `project`.
    """

    project: str
    model: Mapping[str, Any]
    file: str
    inputs: Mapping[str, Sequence[int]]
    outputs: Mapping[str, int]
    batch_size: int
    threads: int

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> SpeedQuestion:
        """Reads what `plain` of a question wrote."""
        return cls(**fields)

    @property
    def network_file(self) -> Path | None:
        """The file of the network."""
        return Path(self.file) if self.file else None


class Speed(NamedTuple):
    """The seconds of one training step in float, here and now."""

    step_seconds: float


Question = DataQuestion | SpeedQuestion

QUESTIONS: Mapping[str, type[DataQuestion | SpeedQuestion]] = {"data": DataQuestion, "speed": SpeedQuestion}
"""A look's name -> its question."""


def to_json(record: Question | DataLook | Speed) -> dict[str, Any]:
    """A question or an answer as JSON's values."""
    return plain(record)
