"""The graphs that the original tool (TF 1.10.1) rewrote, in ../shared/golden, and inventories of graphs."""

from __future__ import annotations

import argparse
import json
import lzma
import re
import zlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.conftest import SHARED

v1 = tf.compat.v1
GOLDEN = SHARED / "golden"
WITHOUT_BATCH_NORM = ["cifarnet", "cifarnet_lrn", "lenet"]
WITH_BATCH_NORM = ["mobilenet_v1_025_128", "inception_v1", "resnet_v1_50"]
NETWORKS = [*WITHOUT_BATCH_NORM, *WITH_BATCH_NORM]
QUANT_DELAY = 1000
INSERTED = re.compile(r"(^|/)(weights|act|conv|add|post_activation_bypass)_quant(_\d+)?/|^fake_quantization_step")


def golden_folder(description: str | None) -> Path:
    """The folder that the command line of a program of this package names; `description` is the program's."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=Path, required=True, help="the folder of the graphs that TF 1.10.1 rewrote")
    folder: Path = parser.parse_args().golden
    return folder


def unpacked(network, name):
    return lzma.decompress((GOLDEN / network / f"{name}.xz").read_bytes())


def golden_inventory(network, mode):
    return json.loads(unpacked(network, f"{mode}.json"))


def golden_graph_def(network, name):
    return v1.GraphDef.FromString(unpacked(network, f"{name}.pb"))


def imported(graph_def):
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    return graph


def without_fake_quants(graph_def):
    """Return the graph before FakeQuants were inserted, with its batch norms folded."""
    raw = {}
    for node in graph_def.node:
        if node.op == "FakeQuantWithMinMaxVars":
            raw[node.name] = raw[node.name.replace(node.op, "delayed_quant/Merge")] = node.input[0]
    bare = v1.GraphDef(versions=graph_def.versions)
    for node in graph_def.node:
        if not INSERTED.search(node.name):
            kept = bare.node.add()
            kept.CopyFrom(node)
            del kept.input[:]
            inputs = [raw.get(name, name) for name in node.input]
            kept.input.extend(name for name in inputs if not INSERTED.search(name.removeprefix("^")))
    return bare


def fake_quants(graph):
    """Each FakeQuant of a graph by its min variable, as the golden inventories list them."""
    by_variable = {}
    names = {operation.name for operation in graph.get_operations()}
    for operation in graph.get_operations():
        if operation.type != "FakeQuantWithMinMaxVars":
            continue
        source = operation.inputs[0]
        prefix = operation.name.rpartition("/")[0]
        merges = [name for name in [f"{prefix}/delayed_quant/Merge"] if name in names]
        output = graph.get_operation_by_name(merges[0]).outputs[0] if merges else operation.outputs[0]
        others = [each for each in source.consumers() if not each.name.startswith(f"{prefix}/")]
        by_variable[f"{prefix}/min"] = {
            "name": operation.name,
            "input": source.name,
            "effective_consumers": sorted({f"{each.name}|{each.type}" for each in output.consumers()}),
            "unquantized_remaining_consumers": sorted({f"{each.name}|{each.type}" for each in others}),
            "num_bits": operation.get_attr("num_bits"),
            "narrow_range": operation.get_attr("narrow_range"),
            "gate_merge": merges,
            "min_var": variable_behind(operation.inputs[1]),
            "max_var": variable_behind(operation.inputs[2]),
        }
    return by_variable


def variable_behind(tensor):
    while tensor.op.type != "VariableV2":
        tensor = tensor.op.inputs[0]
    return tensor.op.name


def new_variables(graph):
    return {
        (variable.name, variable.dtype.base_dtype.name, variable.trainable, tuple(sorted(collections_of(variable))))
        for variable in graph.get_collection(v1.GraphKeys.GLOBAL_VARIABLES)
    }


def collections_of(variable):
    graph = variable.graph
    return [
        key for key in graph.get_all_collection_keys() if any(each is variable for each in graph.get_collection(key))
    ]


def expected_fake_quants(inventory):
    keys = ["name", "input", "num_bits", "narrow_range", "gate_merge", "min_var", "max_var"]
    lists = ["effective_consumers", "unquantized_remaining_consumers"]
    return {
        each["min_var"]: {key: each[key] for key in keys} | {key: sorted(each[key]) for key in lists}
        for each in inventory["fake_quants"]
    }


def value_for(operation, shape):
    """A plausible value for a variable, the same for the same name."""
    normal = np.random.default_rng(zlib.crc32(operation.name.encode())).normal(size=shape)
    kind = operation.name.rpartition("/")[2]
    if kind == "min":
        return -6 - np.abs(normal) if "weights_quant" not in operation.name else -0.2 - 0.1 * np.abs(normal)
    if kind == "max":
        return 6 + np.abs(normal) if "weights_quant" not in operation.name else 0.2 + 0.1 * np.abs(normal)
    if kind in ("gamma", "moving_variance"):
        return 0.5 + np.abs(normal)
    return normal * np.sqrt(2 / max(1, np.prod(shape[:-1])))


def assign_values(session, values=value_for, where=lambda _name: True):
    with session.graph.as_default():
        session.run([
            tf.raw_ops.Assign(ref=each.outputs[0], value=tf.cast(values(each, each.outputs[0].shape), dtype))
            for each in session.graph.get_operations()
            if each.type == "VariableV2" and where(each.name)
            for dtype in [each.outputs[0].dtype.base_dtype]
        ])  # fmt: skip


def outputs(graph, shape, fetch):
    images = np.random.default_rng(1).normal(size=[1, *shape]).astype(np.float32)
    with v1.Session(graph=graph) as session:
        assign_values(session)
        return session.run(fetch, {"input:0": images})


def with_fixed_seeds(graph_def):
    """Give dropout seeds made of its name, so that two graphs draw the same numbers."""
    for node in graph_def.node:
        if node.op == "RandomUniform":
            node.attr["seed"].i, node.attr["seed2"].i = 7, zlib.crc32(node.name.encode())
    return graph_def
