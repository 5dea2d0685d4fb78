"""Small frozen graphs, as the freeze stage leaves them: conv, pool, conv, dense, softmax, with fake quantization."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.worker.tflite import convert
from tests.tflite.running import ends

v1 = tf.compat.v1
SIDE_PX, CLASSES, FILTERS = 8, 4, 8
OUTPUT = "Net/Predictions/Softmax"


class Network(Protocol):
    def __call__(self, **options: Any) -> Path: ...


class Converted(Protocol):
    def __call__(self, scheme: str = "uint8", **options: Any) -> Path: ...


def _weights(weights: np.ndarray, kind: str | None, bits: int) -> Any:
    """Weights with their range: of contrib.quantize's kind for uint8, or symmetric for int8, or none."""
    name, largest = "weights_quant", np.abs(weights).max()
    if kind is None:
        return weights
    if kind == "per_channel":
        ends = np.abs(weights).max(axis=tuple(range(weights.ndim - 1)))
        fake_quant = tf.quantization.fake_quant_with_min_max_vars_per_channel
        return fake_quant(weights, -ends, ends, bits, narrow_range=True, name=name)
    low, high = (-largest, largest) if kind == "symmetric" else (weights.min(), weights.max())
    return tf.quantization.fake_quant_with_min_max_vars(weights, low, high, bits, narrow_range=True, name=name)


def _graph(
    *,
    conv: str | None = "asymmetric",
    dense: str | None = "asymmetric",
    ranges: tuple[str, ...] = ("conv1", "conv2", "logits"),
    lrn: bool = False,
    dropout: bool = False,
    svd: bool = False,
    bits: int = 8,
    classes: int = CLASSES,
    batch: int | None = None,
    seed: int = 1,
) -> Any:
    random = np.random.default_rng(seed)

    def layer(name: str, images: Any, shape: tuple[int, ...], highest: float) -> Any:
        with v1.name_scope(name):
            weights = (random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype(np.float32)
            if len(shape) == 4:
                images = v1.nn.conv2d(images, _weights(weights, conv, bits), padding="SAME", name="Conv2D")
            else:
                images = tf.matmul(images, _weights(weights, dense, bits), name="MatMul")
            biases = (random.normal(size=shape[-1]) / 10 * (name != "logits")).astype(np.float32)
            images = tf.nn.bias_add(images, biases, name="BiasAdd")
            images = tf.nn.relu(images, name="Relu") if name != "logits" else images
            if name in ranges:
                low = 0.0 if name != "logits" else -highest
                images = tf.quantization.fake_quant_with_min_max_vars(images, low, highest, bits, name="act_quant")
            return images

    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [batch, SIDE_PX, SIDE_PX, 1], name="input")
        with v1.name_scope("Net"):
            images = layer("conv1", images, (3, 3, 1, FILTERS), 4.0)  # [batch, 8, 8, 8]
            images = v1.nn.max_pool(images, 2, 2, "VALID", name="pool1/MaxPool")  # [batch, 4, 4, 8]
            if lrn:
                images = v1.nn.lrn(images, 4, bias=1.0, alpha=0.001 / 9, beta=0.75, name="norm1")
            images = layer("conv2", images, (3, 3, FILTERS, FILTERS), 4.0)
            images = tf.reshape(images, [batch or -1, 16 * FILTERS], name="Flatten")  # [batch, 128]
            if dropout:
                images = v1.nn.dropout(images, rate=0.5, seed=1, name="dropout3")
            logits = layer("logits", images, (16 * FILTERS, classes), 4.0)  # [batch, 4]
            if svd:
                logits = tf.linalg.svd(logits, compute_uv=False, name="Svd")
            tf.nn.softmax(logits, name="Predictions/Softmax")
    return graph.as_graph_def()


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """The frozen graph of a network with the given options, as a file."""

    def write(**options: Any) -> Path:
        path = tmp_path_factory.mktemp("graph") / "frozen_graph.pb"
        path.write_bytes(_graph(**options).SerializeToString(deterministic=True))
        return path

    return write


@pytest.fixture(scope="session")
def converted(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The .tflite of such a network, with mean 121 and std_dev 64; each is converted once."""
    made: dict[str, Path] = {}

    def once(scheme: str = "uint8", **options: Any) -> Path:
        name = f"{scheme} {sorted(options.items())}"
        if name not in made:
            data = convert.convert(network(**options), ends(OUTPUT, scheme), scheme=scheme)
            made[name] = tmp_path_factory.mktemp("model") / "model.tflite"
            made[name].write_bytes(data)
        return made[name]

    return once


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Random bytes [120, 8, 8, 1]."""
    return np.random.default_rng(2).integers(0, 256, (120, SIDE_PX, SIDE_PX, 1), dtype=np.uint8)
