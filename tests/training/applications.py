"""Applications as the short form of a spec means them, and examples in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.dataset_facts import Column, DatasetFacts
from qatbuild.exchange.networks import Network
from qatbuild.exchange.outputs import Output
from qatbuild.exchange.scaling import Scaling
from qatbuild.quantize import Options
from qatbuild.worker import tasks
from qatbuild.worker.datasets.examples import Examples
from qatbuild.worker.datasets.rows import InMemory
from qatbuild.worker.inputs import NetworkInput
from qatbuild.worker.stages.rewriting import Quantizer, fake_quantization
from qatbuild.worker.training.application import Application
from qatbuild.worker.training.batches import Batch
from qatbuild.worker.training.rewrite import Rewrite

Arrays = Mapping[str, NDArray[Any]]


def columns(shape: tuple[int, ...], classes: int) -> dict[str, Column]:
    """The columns of images with labels."""
    return {"images": Column("uint8", shape), "labels": Column("int32", (), tuple(map(str, range(classes))))}


def facts(described: Mapping[str, Column]) -> DatasetFacts:
    """Facts of a dataset with these columns, without a count."""
    return DatasetFacts(described, {}, {}, ())


def classifier(network: Network, shape: tuple[int, ...], classes: int, scaling: Scaling) -> Application:
    """The application of a spec that names no outputs: one input of images, one classification."""
    dataset, images = facts(columns(shape, classes)), {"images": scaling}
    task = tasks.make("labels", Output.of({"task": "classification"}), dataset, images)
    return Application(network, {"images": NetworkInput("images", shape, scaling)}, {"labels": task}, {"labels": 1.0})


def batch(images: NDArray[Any], labels: NDArray[Any]) -> Batch:
    """A step's images and classes."""
    return Batch({"images": images}, {"labels": labels})


def examples(**arrays: NDArray[Any]) -> Examples:
    """Examples of arrays [n, *shape] by column."""
    described = {name: Column(str(each.dtype), each.shape[1:]) for name, each in arrays.items()}
    rows = {name: InMemory(each) for name, each in arrays.items()}
    return Examples(described, rows, len(next(iter(arrays.values()))))


def rewrite(options: Options) -> Rewrite:
    """The fake quantization of a training by some options."""
    return fake_quantization(Quantizer(options, {}), [])


def as_floats(images: NDArray[np.uint8], scaling: Scaling) -> NDArray[np.float32]:
    """The real values of bytes."""
    values: NDArray[np.float32] = scaling.real(images.astype(np.float32))
    return values
