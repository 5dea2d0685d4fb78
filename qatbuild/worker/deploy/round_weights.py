"""Graphs that compress well, for a smaller download: their weights have few different values.

`rounded_graph.pb` is the result of TensorFlow 1's graph transform round_weights (tools/graph_transforms, in no wheel):
float constants of at least 16 values, rounded to the middles of num_steps steps between their extremes.
`baked_graph.pb` is better for a fake-quantized graph: each weight is replaced by its fake-quantized value, so the
outputs are the same bits, and a tensor has at most 256 different values.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.facts import Gate
from qatbuild.worker import graph_def
from qatbuild.worker.deploy import Outcome, Subject, agreement, graphs

_FAKE_QUANTS = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVarsPerChannel")
_LEAST_VALUES = 16
_SMALL = 1e-6
_ZIP_LEVEL = 9


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Writes rounded_graph.pb and baked_graph.pb. Gates: baked is bit-identical; rounded agrees with its original."""
    assert subject.graphs is not None
    frozen_graph, float_graph, _, outputs = subject.graphs
    original = float_graph if options["graph"] == "float" else frozen_graph
    rounded = rounded_weights(graph_def.read(original), options["num_steps"])
    baked = baked_weights(graph_def.read(frozen_graph), outputs.values())
    made = {"rounded_graph.pb": rounded, "baked_graph.pb": baked}
    for name, definition in made.items():
        (out / name).write_bytes(definition.SerializeToString(deterministic=True))
    answers = {name: graphs.run(definition, subject) for name, definition in made.items()}
    frozen = graphs.run(graph_def.read(frozen_graph), subject)
    whole = frozen if options["graph"] == "frozen" else graphs.run(graph_def.read(original), subject)
    near_lsb = agreement.OTHER_WEIGHTS_LSB
    compared = agreement.compared(subject, answers["rounded_graph.pb"], whole, near_lsb)
    sizes = {path.name: _sizes(path) for path in (original, frozen_graph, *map(out.joinpath, made))}
    return Outcome(
        artifact="baked_graph.pb",
        versions={"tensorflow": tf.__version__},
        answers={name: answers[name] for name in ("baked_graph.pb", "rounded_graph.pb")},
        gates=(
            _identical(answers["baked_graph.pb"], frozen),
            *agreement.gates(options["min_agreement"], compared, original.name, near_lsb),
        ),
        figures={
            "num_steps": options["num_steps"],
            "rounded": original.name,
            "bytes": sizes,
        },
        notes=("zipped: " + ", ".join(f"{name} {size['zipped']:,}" for name, size in sizes.items()),),
    )


def _identical(baked: Mapping[str, NDArray[Any]], frozen: Mapping[str, NDArray[Any]]) -> Gate:
    same = all(np.array_equal(baked[name], each) for name, each in frozen.items())
    differs = max(float(np.abs(baked[name].astype(np.float64) - each).max()) for name, each in frozen.items())
    got = "every output" if same else f"outputs that differ by up to {differs:.3g}"
    return Gate("baked is identical", "every output of frozen_graph.pb, bit by bit", got, passed=same)


def rounded_weights(definition: Any, num_steps: int) -> Any:
    """Applies the transform round_weights to a GraphDef, in place."""
    for node in definition.node:
        if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum:
            values = graph_def.constant(node)
            if values.size >= _LEAST_VALUES:
                graph_def.set_constant(node, rounded_values(values, num_steps))
    return definition


def rounded_values(values: NDArray[np.float32], num_steps: int) -> NDArray[np.float32]:
    """Rounds values to the middles of `num_steps` equal steps between minimum and maximum.

    As in the original transform: the highest is at least the smallest positive float, so that negative values are
    spread up to 0; the highest value itself falls into an additional step; and 0.0 is not kept.
    """
    lowest = np.float32(values.min())
    highest = np.maximum(np.float32(values.max()), np.finfo(np.float32).tiny)
    if lowest == highest:
        highest = np.float32(lowest + 1 if abs(lowest) < _SMALL else 2 * lowest)
    width = np.float32((highest - lowest) / np.float32(num_steps))
    steps = np.floor((values - lowest) / width)
    return np.asarray(lowest + (steps + np.float32(0.5)) * width, np.float32)


def baked_weights(definition: Any, outputs: Collection[str]) -> Any:
    """Returns a GraphDef in which every fake quantization of constants reads its own result.

    The fake quantization stays, because a converter reads its range; it does not change its own results.
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
    return tf.compat.v1.graph_util.extract_sub_graph(definition, [*outputs])


def _sizes(path: Path) -> dict[str, int]:
    data = path.read_bytes()
    return {"raw": len(data), "zipped": len(zlib.compress(data, _ZIP_LEVEL))}
