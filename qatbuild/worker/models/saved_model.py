"""SavedModels of TensorFlow 1 and 2 as networks: a signature, or a function with its input signature.

The functions of TensorFlow 2 are replaced by their operations (called_functions); the rest is as with other graphs: see
graph_network and graph_cut. Variables have the names that they have in the file, and begin with its values.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as SavedModelProto

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.networks import SavedModel
from qatbuild.worker import graph_def
from qatbuild.worker.models import called_functions, foreign_files, graph_network, matching, meta_graph
from qatbuild.worker.models.graph_cut import VARIABLES
from qatbuild.worker.models.graph_network import Graph

v1 = tf.compat.v1

_USUAL = "serving_default"
_SERVE = "serve"
_INNER = "__saved_model"
_NORMS = "FusedBatchNorm"
_MOMENTS = (3, 4)

Values = dict[str, np.ndarray[Any, Any]]


def build(inputs: Mapping[str, tf.Tensor], network: SavedModel, ends: Mapping[str, str]) -> dict[str, tf.Tensor]:
    """Adds the network of a SavedModel to the graph of the inputs; returns its outputs by name, see graph_network."""
    graph, _ = _read(network.path, network.signature)
    return graph_network.build(inputs, graph, (network.inputs, network.outputs), ends)


def values(network: SavedModel) -> Values:
    """Returns the values of the variables by name."""
    return dict(_read(network.path, network.signature)[1])


def _read(path: Path, signature: str | None) -> tuple[Graph, Values]:
    file = path / "saved_model.pb"
    return _read_once(path, signature, file.stat().st_mtime_ns if file.is_file() else 0)


@functools.lru_cache(maxsize=1)
def _read_once(path: Path, signature: str | None, _mtime_ns: int) -> tuple[Graph, Values]:
    meta = _meta_graph(path)
    names = [name for name in meta.signature_def if not name.startswith(_INNER)]
    chosen = signature or (_USUAL if _USUAL in names or len(names) != 1 else names[0])
    if chosen not in names:
        # In a thread in which no graph is active, and no function runs eagerly.
        with ThreadPoolExecutor(1) as thread, tempfile.TemporaryDirectory() as folder:
            again = Path(folder) / path.name
            thread.submit(_save_function, path, signature, names, again).result()
            return _read_once(again, _USUAL, 0)
    function = meta.signature_def[chosen]
    inputs = {name: tensor.name for name, tensor in sorted(function.inputs.items())}
    definition, results = called_functions.inlined(meta.graph_def)
    outputs = {name: results.get(tensor.name, tensor.name) for name, tensor in sorted(function.outputs.items())}
    definition = _read_by(definition, [*inputs.values(), *outputs.values()])
    variables = _loaded(path, list(meta.meta_info_def.tags), definition)
    original = _original_names(meta, variables)
    for node in definition.node:
        node.name = original.get(node.name, node.name)
        read = [each.partition(":") for each in node.input]
        del node.input[:]
        node.input.extend(f"{original.get(name, name)}:{number or 0}" for name, _, number in read)
    graph = Graph(definition, "SavedModel", path.name, _trained(meta, definition), inputs, outputs)
    return graph, {original.get(name, name): value for name, value in variables.items()}


def _meta_graph(path: Path) -> tf.compat.v1.MetaGraphDef:
    """Returns the graph for serving; StageError if the folder holds no SavedModel."""
    file = path / "saved_model.pb"
    facts: list[tuple[str, object]] = [("model.saved_model", path)]
    if not path.exists():
        raise StageError("The SavedModel does not exist.", facts, "The path is relative to the spec.")
    if path.is_file():
        raise foreign_files.unreadable(path, "model.saved_model", "A SavedModel is a folder, not a file.")
    if not file.is_file():
        inside = sorted(each.parent.name for each in path.glob("*/saved_model.pb"))
        facts.append(("there are", ", ".join(inside) if inside else _listed(path)))
        hint = f'Name the folder inside: "{path.name}/{inside[-1]}"' if inside else ""
        raise StageError("The folder holds no SavedModel: it lacks saved_model.pb.", facts, hint)
    try:
        metas = list(SavedModelProto.FromString(file.read_bytes()).meta_graphs)
    except (OSError, DecodeError) as fault:
        raise StageError("A SavedModel cannot be read.", [*facts, ("reason", fault)]) from fault
    if not metas:
        raise StageError("A SavedModel is empty.", facts)
    return next((meta for meta in metas if _SERVE in meta.meta_info_def.tags), metas[0])


def _read_by(definition: tf.compat.v1.GraphDef, tensors: Iterable[str]) -> tf.compat.v1.GraphDef:
    """Returns the part of a graph without control edges from which some tensors are computed."""
    nodes, needed = graph_def.nodes_by_name(definition), set[str]()
    waiting = [graph_def.op_name(tensor) for tensor in tensors]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += graph_def.data_ops(nodes[name])
    part = tf.compat.v1.GraphDef(versions=definition.versions)
    part.node.extend(node for name, node in nodes.items() if name in needed)
    return part


def _original_names(meta: tf.compat.v1.MetaGraphDef, variables: Iterable[str]) -> dict[str, str]:
    """Returns the variables' names before Keras 3 numbered the copies that its export makes of them."""
    saved = {each.variable.name for each in meta.object_graph_def.nodes if each.HasField("variable")}
    names = {name: name.rpartition("_")[0] for name in variables if name not in saved}
    taken = [*names.values(), *(name for name in variables if name in saved)]
    return {name: base for name, base in names.items() if base in saved and taken.count(base) == 1}


def _listed(path: Path) -> str:
    return ", ".join(sorted(each.name for each in path.iterdir())[:10]) or "nothing"


def _loaded(path: Path, tags: list[str], definition: tf.compat.v1.GraphDef) -> Values:
    """Returns the values of the variables, other than texts."""
    types = {
        node.name: (node.op, tf.as_dtype(node.attr["dtype"].type)) for node in definition.node if node.op in VARIABLES
    }
    with tf.Graph().as_default() as graph, v1.Session() as session:
        try:
            v1.saved_model.load(session, tags, str(path))
        except (OSError, ValueError, tf.errors.OpError) as fault:
            facts = [("model.saved_model", path), ("reason", str(fault).strip().splitlines()[0])]
            raise StageError("The weights of a SavedModel cannot be read.", facts) from fault
        tensors = {}
        for name, (kind, dtype) in types.items():
            tensor = graph.get_tensor_by_name(f"{name}:0")
            tensors[name] = tf.raw_ops.ReadVariableOp(resource=tensor, dtype=dtype) if kind == "VarHandleOp" else tensor
        readable: Values = session.run({name: each for name, each in tensors.items() if types[name][1] != tf.string})
    return readable


def _trained(meta: tf.compat.v1.MetaGraphDef, definition: tf.compat.v1.GraphDef) -> frozenset[str]:
    """Returns the names of the trainable variables: as the file says, and no moving average of a batch norm."""
    listed = meta_graph.trainable(meta)
    frozen = {
        each.variable.name
        for each in meta.object_graph_def.nodes
        if each.HasField("variable") and not each.variable.trainable
    }
    moments = {
        name
        for node in definition.node
        if node.op.startswith(_NORMS)
        for number in _MOMENTS
        for name in _variable(node.input[number], definition)
    }
    names = {node.name for node in definition.node if node.op in VARIABLES}
    return frozenset(name for name in names - moments if (listed is None or name in listed) and name not in frozen)


def _variable(tensor: str, definition: tf.compat.v1.GraphDef) -> Iterator[str]:
    nodes = {node.name: node for node in definition.node}
    node = nodes[tensor.partition(":")[0]]
    while node.op in {"Identity", "ReadVariableOp"}:
        node = nodes[node.input[0].partition(":")[0]]
    if node.op in VARIABLES:
        yield node.name


def _save_function(path: Path, name: str | None, signatures: list[str], again: Path) -> None:
    """Saves a function with one input signature again as the usual signature."""
    facts = [("model.saved_model", path.name), ("signatures", ", ".join(sorted(signatures)) or "(none)")]
    try:
        loaded = tf.saved_model.load(str(path))
        functions = dict(_functions(loaded))
    except Exception as fault:  # noqa: BLE001  Any error, of any class that the file names.
        functions = {}
        facts.append(("functions", f"not read: {type(fault).__name__}: {fault}".splitlines()[0]))
    else:
        facts.append(("functions", ", ".join(sorted(functions)) or "(none)"))
    if name is None and len(functions) == 1 and not signatures:
        (name,) = functions
    if not functions and not signatures:
        raise StageError("The SavedModel has no function with a signature of its inputs.", facts, _SAVE)
    if name is None:
        raise StageError("The SavedModel has no usual signature (serving_default).", facts, _CHOOSE)
    if name not in functions:
        near = matching.nearest(name, [*signatures, *functions])
        facts += [("model.signature", name), ("nearest", near[0] if near else "(no similar names)")]
        raise StageError("The SavedModel has no such signature.", facts, _CHOOSE)
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(run_eagerly=False)
    try:
        tf.saved_model.save(loaded, str(again), signatures={_USUAL: functions[name]})
    finally:
        tf.config.run_functions_eagerly(eagerly)


_SAVE = "Save it again with one: tf.saved_model.save(model, folder, signatures=function.get_concrete_function(...))."
_CHOOSE = 'Write one of them: "signature": "NAME"'


def _functions(loaded: Any) -> Iterator[tuple[str, Any]]:
    """Yields the functions of a loaded object with exactly one input signature."""
    for name in dir(loaded):
        function = getattr(loaded, name, None) if not name.startswith("_") or name == "__call__" else None
        concrete = getattr(function, "concrete_functions", None)
        if concrete and len(concrete) == 1:
            yield name, concrete[0]
