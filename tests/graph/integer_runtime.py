"""A network on its whole way: rewritten for inference, given ranges, frozen, converted, run beside its graph."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.quantize import Options, RewriteReport, plan_inference, rewrite_inference
from qatbuild.quantize.integer.learning import settled
from qatbuild.worker.tflite import inspect
from qatbuild.worker.tflite.convert import convert
from qatbuild.worker.tflite.interpret import Model
from tests.tflite.running import ends, int8, run

v1 = tf.compat.v1

MEAN, STD_DEV = 128, 64
IMAGES = np.random.default_rng(7).integers(0, 256, (24, 8, 8, 4), dtype=np.uint8)


@dataclass(frozen=True)
class Outcome:
    """`graph` and `tflite` are logits [images, classes], in steps of their scale, without the zero point."""

    report: RewriteReport
    operators: list[str]
    unsupported: tuple[inspect.UnsupportedOp, ...]
    graph: np.ndarray
    tflite: np.ndarray
    path: Path

    @property
    def lsb(self):
        """The differences, in steps of the logits."""
        return np.abs(self.graph - self.tflite)

    @property
    def argmax_percent(self):
        return 100 * np.mean(np.argmax(self.graph, 1) == np.argmax(self.tflite, 1))


def options(scheme="uint8", **more):
    return Options(mean=MEAN, std_dev=STD_DEV, scheme=scheme, **more)


def network_graph(body, *, training=False, dropout=True, classes=5):
    """The input, the network that `body` adds, dropout in training, a dense layer of logits, softmax."""
    with tf.Graph().as_default() as graph:
        value = v1.placeholder(tf.float32, [None, *IMAGES.shape[1:]], name="input")
        logits = body(value, training)
        logits = tf.nn.dropout(logits, 0.3) if training and dropout else logits
        if logits.shape.rank == 4:
            logits = tf.reshape(logits, [-1, int(np.prod(logits.shape[1:]))])
        with v1.variable_scope("logits"):
            start = v1.random_normal_initializer(stddev=(2 / int(logits.shape[-1])) ** 0.5, seed=5)
            weights = v1.get_variable("weights", [logits.shape[-1], classes], initializer=start, use_resource=True)
            start = v1.random_uniform_initializer(-0.5, 0.5, seed=6)
            biases = v1.get_variable("biases", [classes], initializer=start, use_resource=True)
            logits = tf.nn.bias_add(tf.matmul(logits, weights), biases)
        tf.nn.softmax(logits, name="Predictions/Softmax")
    return graph, logits.op.name


def measured(body, asked, values=None):
    """Return ranges by variable, measured by running the float network on the images, and the plan's report."""
    graph, logits = network_graph(body)
    report = plan_inference(graph, asked, input="input", logits=logits)
    ranges: dict[str, Any] = {}
    as_it_is = v1.ConfigProto()
    as_it_is.graph_options.rewrite_options.disable_meta_optimizer = True  # It loses some of many fetched tensors.
    with graph.as_default(), v1.Session(config=as_it_is) as session:
        session.run(v1.global_variables_initializer())
        values = {each.op.name: drawn(each, session) for each in v1.global_variables()} | (values or {})
        restore(session, values)
        rows = [row for row in report.quantized if row.fixed is None]
        for row, value in zip(rows, session.run([row.tensor for row in rows], {"input:0": reals()}), strict=True):
            axes = None if row.quantized_dimension is None else tuple(range(row.quantized_dimension))
            ends = [
                np.reshape(value.min(axes), [-1] if axes else []),
                np.reshape(value.max(axes), [-1] if axes else []),
            ]
            low, high = settled(*ends, symmetric=row.symmetric)
            if row.role not in ROUNDED_AS_THE_INPUT:
                low = np.minimum(low, ranges.get(row.min_variable, low))
                high = np.maximum(high, ranges.get(row.max_variable, high))
                ranges.update({row.min_variable: low, row.max_variable: high})
    return {**values, **ranges}, report


KERAS = {
    "gamma": (0.5, 2),
    "beta": (-0.5, 0.5),
    "moving_mean": (-0.5, 0.5),
    "moving_variance": (0.5, 2),
    "bias": (-0.3, 0.3),
}
"""Keras variables that begin with equal values, and between which they are drawn."""


def drawn(variable, session):
    """The variable's initial value, or random weights: the converter would merge equal weights of two layers."""
    name = variable.op.name.rpartition("/")[2]
    if name in KERAS and not np.ptp(session.run(variable)):
        random = np.random.default_rng(zlib.crc32(variable.op.name.encode()))
        return random.uniform(*KERAS[name], variable.shape.as_list()).astype(np.float32)
    if name != "weights":
        return session.run(variable)
    shape = variable.shape.as_list()
    fan_in = np.prod(shape[:2] if shape[-1] == 1 else shape[:-1])
    random = np.random.default_rng(zlib.crc32(variable.op.name.encode()))
    return random.normal(size=shape).astype(np.float32) * np.float32(np.sqrt(2 / fan_in))


# Their range is that of their input and is measured there.
ROUNDED_AS_THE_INPUT = {
    "avg_pool_quant",
    "resize_bilinear_quant",
    "pad_quant",
    "relu_quant",
    "relu6_quant",
}


def reals():
    return (IMAGES.astype(np.float32) - MEAN) / STD_DEV


def restore(session, values):
    for variable in v1.global_variables():
        if variable.op.name in values:
            variable.load(values[variable.op.name], session)


def converted(body, folder: Path, scheme="uint8", values=None, kernels="reference", **more: Any) -> Outcome:
    asked = options(scheme, **more)
    values, _ = measured(body, asked, values)
    graph, logits = network_graph(body)
    report = rewrite_inference(graph, asked, input="input", logits=logits)
    with graph.as_default(), v1.Session() as session:
        session.run(v1.global_variables_initializer())
        missing = {each.op.name for each in v1.global_variables()} - set(values)
        assert not missing
        restore(session, values)
        (output,) = {each.inputs[0].op for each in graph.get_operations() if each.name == "Predictions/Softmax"}
        scores = session.run(output.outputs[0], {"input:0": reals()})
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [output.name])
    frozen = v1.graph_util.remove_training_nodes(frozen, protected_nodes=[output.name])
    (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
    left = {each.layer for each in report.left_float}
    # The converter reads the range of the output in the graph.
    wanted = ends(output.name, scheme, MEAN, STD_DEV)
    data = convert(folder / "frozen.pb", wanted, scheme=scheme, float_layers=left)
    path = folder / "model.tflite"
    path.write_bytes(data)
    model = inspect.read(path)
    (scale,), (zero_point,) = (getattr(model.tensors[model.outputs[0]], name) for name in ("scales", "zero_points"))
    codes = run(Model(path, kernels=kernels), IMAGES if scheme == "uint8" else int8(IMAGES))
    quantized = codes.astype(np.float32) - zero_point
    operators = [each.name for each in model.operators]
    unsupported = inspect.unsupported_ops(model, scheme, left)
    return Outcome(report, operators, unsupported, np.rint(scores / scale), quantized, path)
