"""Graphs for a smaller download: equal values compress better than different ones.

`rounded_graph.pb` is what the graph transform round_weights of TensorFlow 1 made (tools/graph_transforms, which is in
no wheel): float constants of at least 16 values, rounded to the middles of num_steps steps between their extremes.
`baked_graph.pb` is the better one for a fake-quantized graph: each weight is already the value that its fake
quantization makes of it, so it computes the very same, and has at most 256 values a tensor.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.worker import graph_def
from qatbuild.worker.deploy import Outcome, Subject, agreement_gate, agreement_percent, graphs

_FAKE_QUANTS = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVarsPerChannel")
_LEAST_VALUES = 16
_SMALL = 1e-6
_ZIP_LEVEL = 9


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Write rounded_graph.pb and baked_graph.pb; gates: baked is bit-identical, rounded agrees with its original."""
    assert subject.frozen_graph is not None
    assert subject.float_graph is not None
    original = subject.float_graph if options["graph"] == "float" else subject.frozen_graph
    rounded = rounded_weights(graph_def.read(original), options["num_steps"])
    baked = baked_weights(graph_def.read(subject.frozen_graph), subject.graph_output)
    made = {"rounded_graph.pb": rounded, "baked_graph.pb": baked}
    for name, definition in made.items():
        (out / name).write_bytes(definition.SerializeToString(deterministic=True))
    answers = {name: _run(subject, definition) for name, definition in made.items()}
    frozen = _run(subject, graph_def.read(subject.frozen_graph))
    whole = frozen if options["graph"] == "frozen" else _run(subject, graph_def.read(original))
    same = np.array_equal(answers["baked_graph.pb"], frozen)
    differs = float(np.abs(answers["baked_graph.pb"].astype(np.float64) - frozen).max())
    got = agreement_percent(answers["rounded_graph.pb"], whole)
    identical = {
        "name": "baked is identical",
        "wanted": "every output of frozen_graph.pb, bit by bit",
        "got": "every output" if same else f"outputs that differ by up to {differs:.3g}",
        "passed": same,
    }
    sizes = {path.name: _sizes(path) for path in (original, subject.frozen_graph, *map(out.joinpath, made))}
    return Outcome(
        artifact="baked_graph.pb",
        versions={"tensorflow": tf.__version__},
        answers={name: answers[name] for name in ("baked_graph.pb", "rounded_graph.pb")},
        gates=(identical, *agreement_gate(options["min_agreement"], got, original.name)),
        figures={
            "num_steps": options["num_steps"],
            "rounded": original.name,
            "bytes": sizes,
        },
        notes=("zipped: " + ", ".join(f"{name} {size['zipped']:,}" for name, size in sizes.items()),),
    )


def rounded_weights(definition: Any, num_steps: int) -> Any:
    """A GraphDef with the transform round_weights done to it."""
    for node in definition.node:
        if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum:
            values = graph_def.constant(node)
            if values.size >= _LEAST_VALUES:
                graph_def.set_constant(node, rounded_values(values, num_steps))
    return definition


def rounded_values(values: NDArray[np.float32], num_steps: int) -> NDArray[np.float32]:
    """Values at the middles of `num_steps` equal steps between the least and the highest, as the transform has them.

    Like the original: the highest begins at the least positive float, so all-negative values are spread up to 0; the
    highest value itself falls into one step more; and 0.0 is not kept.
    """
    lowest = np.float32(values.min())
    highest = np.maximum(np.float32(values.max()), np.finfo(np.float32).tiny)
    if lowest == highest:
        highest = np.float32(lowest + 1 if abs(lowest) < _SMALL else 2 * lowest)
    width = np.float32((highest - lowest) / np.float32(num_steps))
    steps = np.floor((values - lowest) / width)
    return np.asarray(lowest + (steps + np.float32(0.5)) * width, np.float32)


def baked_weights(definition: Any, output: str) -> Any:
    """A GraphDef in which every fake quantization of constants is fed with its own result.

    It stays in the graph, for its range is what a converter reads; on its own result it changes nothing.
    """
    fixed = graph_def.constant_ops(definition.node)
    ops = [node for node in definition.node if node.op in _FAKE_QUANTS and graph_def.op_name(node.input[0]) in fixed]
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            values = session.run([f"{node.name}:0" for node in ops]) if ops else []
    for node, value in zip(ops, values, strict=True):
        baked = definition.node.add()
        baked.CopyFrom(graph_def.new_constant(f"{node.name}/baked", value))
        node.input[0] = baked.name
    return tf.compat.v1.graph_util.extract_sub_graph(definition, [output])


def _run(subject: Subject, definition: Any) -> NDArray[np.float32]:
    return graphs.run(definition, subject.graph_input, subject.graph_output, subject.real_images)


def _sizes(path: Path) -> dict[str, int]:
    data = path.read_bytes()
    return {"raw": len(data), "zipped": len(zlib.compress(data, _ZIP_LEVEL))}
