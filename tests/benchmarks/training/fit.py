"""tfmot's side: `fit` of the same CifarNet in tf_keras, in float or after quantize_model. Runs in tfmot's environment.

    python -m tests.benchmarks.training.fit STEP        STEP: float, quantized

A step's time is what passes between the ends of two batches within one `fit`, so that the cost of calling `fit` is not
counted. Each step takes the same batch of float32, already scaled, so that the input pipeline is not counted either.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

from tests.benchmarks.training.batch import CLASSES, MEAN, SHAPE, STD_DEV, batch
from tests.benchmarks.training.pipe import serve


class _Clock(keras.callbacks.Callback):
    """When each batch ended."""

    _supports_tf_logs = True  # Else each step would wait for a copy of the loss, which is not read.

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, _batch: int, _logs: object = None) -> None:
        self.ends.append(time.perf_counter())


def prepare(step: str) -> tuple[dict[str, Any], Callable[[int], list[float]]]:
    """Build and compile the model."""
    threads = int(os.environ["QATBUILD_THREADS"])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    images, labels = batch()
    data = tf.data.Dataset.from_tensors((((images - MEAN) / STD_DEV).astype("float32"), labels)).repeat()
    model = _cifarnet()
    if step == "quantized":
        model = tfmot.quantization.keras.quantize_model(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True), loss)

    def steps(count: int) -> list[float]:
        clock = _Clock()
        model.fit(data, steps_per_epoch=count + 1, verbose=0, callbacks=[clock])
        return [later - sooner for sooner, later in zip(clock.ends, clock.ends[1:], strict=False)]

    packages = ("tensorflow", "tf_keras", "tensorflow-model-optimization")
    return {"precision": "float32", "versions": {name: version(name) for name in packages}}, steps


def _cifarnet() -> keras.Sequential:
    """The layers of qatbuild.worker.models.cifarnet, without LRN, with the same weight decay."""
    decay = {"kernel_regularizer": keras.regularizers.L2(0.0005)}  # L2 has no half in it
    conv = {"kernel_size": 5, "padding": "same", "activation": "relu", **decay}
    return keras.Sequential(
        [
            keras.layers.Conv2D(64, input_shape=SHAPE, **conv),
            keras.layers.MaxPool2D(2),
            keras.layers.Conv2D(64, **conv),
            keras.layers.MaxPool2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(384, activation="relu", **decay),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(192, activation="relu", **decay),
            keras.layers.Dense(CLASSES, **decay),
        ]
    )


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]))
