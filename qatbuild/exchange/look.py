"""What crosses the halves when the user's data are looked at, before a spec names them: questions and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.exchange.facts import plain


class DataQuestion(NamedTuple):
    """A look at the data at `path`: a folder or a file.

    `size` [height, width] is that which pictures are to have, () if the pictures decide. `most_px` is the largest side
    that is proposed for pictures where nothing else decides. With `labels` the examples have targets. `network` is the
    file of a trained network, '' for another one.
    """

    path: str
    labels: bool = True
    size: Sequence[int] = ()
    most_px: int = 96
    network: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> DataQuestion:
        """Read what `plain` of a question wrote."""
        return cls(**fields)


class NetworkLook(NamedTuple):
    """What a Keras file says of itself: the shape of one example of its lone input, and whether it scales bytes."""

    shape: Sequence[int | None] = ()
    scales: bool = False


class DataLook(NamedTuple):
    """The data as a spec can name them.

    `dataset` are fields of the spec's `dataset` other than `path` and `table`, whose files are `path` and `table` (''
    for none). `input` and `target` are the names of columns, the target '' without one; `shape` and `dtype` (uint8,
    float32) those of one example of the input. `task` is the target's. `counts` are examples by split; without "test"
    the data have none. `class_counts` are the training examples of each class by name. `mean` and `std` are over the
    values of the `sampled` examples that were looked at, `least` and `greatest` among them. `remarks` are sentences
    about what is unusual.
    """

    path: str
    table: str
    dataset: Mapping[str, Any]
    input: str
    target: str
    task: str
    dtype: str
    shape: Sequence[int]
    counts: Mapping[str, int]
    class_counts: Mapping[str, int]
    mean: float
    std: float
    least: float
    greatest: float
    sampled: int
    remarks: Sequence[str] = ()
    network: NetworkLook = NetworkLook()

    @property
    def examples(self) -> int:
        """The number of examples in all splits."""
        return sum(self.counts.values())

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> DataLook:
        """Read what `plain` of a look wrote."""
        return cls(**{**fields, "network": NetworkLook(**fields["network"])})


class SpeedQuestion(NamedTuple):
    """How long a step of a training takes: of the spec's `model`, with its file at `file` ('' for none).

    `shape` is that of one example, `outputs` the last dimension of the result. Modules are those of `project`.
    """

    project: str
    model: Mapping[str, Any]
    file: str
    input: str
    shape: Sequence[int]
    output: str
    outputs: int
    batch_size: int
    threads: int

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> SpeedQuestion:
        """Read what `plain` of a question wrote."""
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
