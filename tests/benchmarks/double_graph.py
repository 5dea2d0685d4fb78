"""How far a .tflite is from its fake-quantized graph, if that is computed in float64.

    python -m tests.benchmarks.double_graph frozen_graph.pb model.tflite images.npz

prints JSON: the agreement with the graph in float64, on `test_images`, of the .tflite (XNNPACK), `tflite`, and of the
graph in float32, as TensorFlow runs it and report.json has it, `float32`. In float32 a value of 200 steps is off by a
hundred-thousandth of a step, and where it lies halfway between two integers FakeQuant takes the other one: once or
twice among the values of one image in a deep network, each of which changes what is computed from it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.quantize.graph.fake_quant import quant_limits
from qatbuild.worker import graph_def
from qatbuild.worker.tflite import fake_quant_nodes as fake_quants
from qatbuild.worker.tflite import inspect
from qatbuild.worker.tflite.interpret import Model

v1 = tf.compat.v1

_BATCH = 60
_FLOAT, _DOUBLE = tf.float32.as_datatype_enum, tf.float64.as_datatype_enum
_INT8_OFFSET = 128
Array = NDArray[Any]


def main(arguments: list[str]) -> int:
    """Prints the figures."""
    graph, path, images = graph_def.read(Path(arguments[0])), Path(arguments[1]), np.load(arguments[2])["test_images"]
    file = inspect.read(path)
    source, result = (file.tensors[ends[0]] for ends in (file.inputs, file.outputs))
    offset = _INT8_OFFSET if source.dtype == "int8" else 0
    reals = (images - np.float64(source.zero_points[0] + offset)) * source.scales[0]
    integers = (images.astype(np.int16) - offset).astype(source.dtype)
    ours = Model(path, (["images"], ["labels"])).run({"images": integers})["labels"].reshape(len(images), -1)
    exact, usual = (
        _outputs(each, reals) / result.scales[0] + result.zero_points[0] for each in (doubled(graph), graph)
    )
    figures = {name: _agreement(each, exact) for name, each in (("tflite", ours), ("float32", usual))}
    sys.stdout.write(json.dumps(figures))
    return 0


def doubled(graph: Any) -> Any:
    """A frozen fake-quantized GraphDef in float64, FakeQuants included, with the scales of the .tflite in float32."""
    nodes = graph_def.nodes_by_name(graph)
    doubled_graph = v1.GraphDef()
    for node in graph.node:
        if node.op in fake_quants.FAKE_QUANTS:
            ends = fake_quants.range_of(nodes, node)
            assert ends is not None
            limits = quant_limits(fake_quants.bits_of(node), narrow_range=node.attr["narrow_range"].b)
            doubled_graph.node.extend(_fake_quant(node.name, node.input[0], ends, limits))
            continue
        copy = doubled_graph.node.add()
        copy.CopyFrom(node)
        for attribute in copy.attr.values():
            if attribute.type == _FLOAT:
                attribute.type = _DOUBLE
            elif attribute.list.type:
                attribute.list.type[:] = [_DOUBLE if each == _FLOAT else each for each in attribute.list.type]
        if copy.op == "Const" and copy.attr["value"].tensor.dtype == _FLOAT:
            values = tf.make_ndarray(node.attr["value"].tensor).astype(np.float64)
            copy.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))
    return doubled_graph


def _fake_quant(name: str, values: str, ends: tuple[Array, Array], limits: tuple[int, int]) -> Any:
    """Nodes that compute S (clip(floor(x / S + Z + 1/2)) - Z) in float64, the last one by a FakeQuant's name."""
    least, greatest = (np.asarray(end, np.float64) for end in ends)
    scale = np.float32((greatest - least) / (limits[1] - limits[0])).astype(np.float64)
    zero = np.clip(np.round(limits[0] - least / scale), *limits)
    with tf.Graph().as_default() as graph:
        source = v1.placeholder(tf.float64, name=f"{name}/x")
        steps = tf.floor(source / scale + zero + 0.5)
        quantized = (tf.minimum(tf.maximum(steps, limits[0]), limits[1]) - zero) * scale
        tf.identity(quantized, name=f"{name}/quantized")
    return [_within(each, name, values) for each in graph.as_graph_def().node if each.op != "Placeholder"]


def _within(node: Any, name: str, values: str) -> Any:
    """A node under the scope of a FakeQuant that reads `values`, and whose last node has the FakeQuant's own name."""

    def renamed(each: str) -> str:
        if each == f"{name}/x":
            return values
        return name if each == f"{name}/quantized" else each if each.startswith(f"{name}/") else f"{name}/{each}"

    node.name = renamed(node.name)
    node.input[:] = [renamed(each) for each in node.input]
    return node


def _outputs(definition: Any, reals: Array) -> Array:
    """The probabilities that a GraphDef with one input computes of real values, in a row for each image."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
    (source,) = (each.outputs[0] for each in graph.get_operations() if each.type == "Placeholder")
    end = [each.outputs[0] for each in graph.get_operations() if each.type == "Softmax"][-1]
    with v1.Session(graph=graph) as session:
        parts = [session.run(end, {source: reals[at : at + _BATCH]}) for at in range(0, len(reals), _BATCH)]
    return np.concatenate(parts).reshape(len(reals), -1)


def _agreement(ours: Array, exact: Array) -> dict[str, float]:
    return {
        "top1_percent": round(100 * float(np.mean(ours.argmax(1) == exact.argmax(1))), 4),
        "rmse_lsb": round(float(np.sqrt(np.mean((ours - exact) ** 2))), 2),
    }


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
