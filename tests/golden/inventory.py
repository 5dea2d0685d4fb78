"""Inventories of rewritten graphs: which FakeQuants a rewrite inserted where, what it folded, what it trains.

The files in `inventories/` list what TF 1.10.1's tf.contrib.quantize did to the networks of `slim.py`. They hold facts
only: names, types, bits, ranges, consumers. This command derives them from the graphs that the original tool rewrote,
a folder NETWORK/ for each network with `quant.train.pb.xz`, `train.json.xz` and the same for "eval":

    python -m tests.golden.inventory --golden ../shared/golden

The JSON files of that folder supply what a GraphDef does not hold: collections and initial values of new variables.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from tests.golden.originals import QUANT_DELAY, fake_quants, golden_folder, imported, variable_behind
from tests.golden.slim import NETWORKS

v1 = tf.compat.v1
FOLDER = Path(__file__).parent / "inventories"
MODES = {"train": f"create_training_graph(quant_delay={QUANT_DELAY})", "eval": "create_eval_graph()"}
LAYERS = {"Conv2D", "DepthwiseConv2dNative", "MatMul"}
FOLDING = ("mul_fold", "post_conv_mul", "correction_add", "add_fold")
"""The operations around a folded layer, in its own scope; the middle two are in training graphs only."""


class Variable(NamedTuple):
    """A variable that a rewrite created."""

    name: str
    dtype: str
    trainable: bool
    initial: float
    collections: tuple[str, ...]


def inventory(graph: tf.Graph, created: Iterable[Variable]) -> dict[str, Any]:
    """Describes a rewritten graph in lists that depend on no order of construction."""
    rows = fake_quants(graph).values()
    return {
        "fake_quants": [with_types(graph, row) for row in sorted(rows, key=lambda row: str(row["name"]))],
        "folded_layers": folded_layers(graph),
        "new_variables": grouped(created, updates(graph)),
        "ema_decays": ema_decays(graph),
        "quant_delay": quant_delay(graph),
        "moving_averages": moving_averages(graph),
    }


def with_types(graph: tf.Graph, row: dict[str, Any]) -> dict[str, Any]:
    operation = graph.get_operation_by_name(row["name"])
    return {**row, "op": operation.type, "input_op": operation.inputs[0].op.type}


def folded_layers(graph: tf.Graph) -> list[dict[str, Any]]:
    """Each layer that computes with folded weights, in the order of names.

    `folds` are the variables of the batch norm and of the layer's weights, `activation` the operations that read the
    folded layer's result.
    """
    rows = []
    for layer in graph.get_operations():
        if layer.type not in LAYERS or not layer.name.endswith("_Fold"):
            continue
        prefix = layer.name.rpartition("/")[0]
        steps = [each.name for each in graph.get_operations() if each.name in {f"{prefix}/{step}" for step in FOLDING}]
        end = graph.get_operation_by_name(f"{prefix}/add_fold")
        rows.append({
            "name": layer.name,
            "op": layer.type,
            "inputs": [each.name for each in layer.inputs],
            "instead_of": layer.name.removesuffix("_Fold"),
            "folding_ops": sorted(steps),
            "folds": sorted(parameters_behind(end, layer.inputs[0].op)),
            "activation": sorted(f"{each.name}|{each.type}" for each in end.outputs[0].consumers()
                                 if not each.name.startswith(f"{prefix}/act_quant")),
        })  # fmt: skip
    return sorted(rows, key=lambda row: str(row["name"]))


def parameters_behind(end: tf.Operation, start: tf.Operation) -> set[str]:
    """The variables of the float network that `end` depends on, without those that `start` depends on."""
    seen, ahead, names = {start}, [end], set()
    while ahead:
        operation = ahead.pop()
        if operation in seen:
            continue
        seen.add(operation)
        if operation.type == "VariableV2" and "_quant" not in operation.name:
            names.add(operation.name)
        ahead.extend(each.op for each in operation.inputs)
    return names


def updates(graph: tf.Graph) -> dict[str, str]:
    """The type of the operation that changes a variable in each step, by the variable's name."""
    return {
        variable_behind(each.inputs[0]): each.type
        for each in graph.get_operations()
        if each.type in {"Assign", "AssignSub", "AssignAdd"} and not each.name.endswith("/Assign")
    }


def grouped(variables: Iterable[Variable], updated_by: dict[str, str]) -> list[dict[str, Any]]:
    """The names of the variables that are alike in all else."""
    groups: dict[str, dict[str, Any]] = {}
    for each in sorted(variables):
        alike = {
            "dtype": each.dtype,
            "trainable": each.trainable,
            "initial": each.initial,
            "collections": list(each.collections),
            "updated_by": updated_by.get(each.name),
        }
        groups.setdefault(json.dumps(alike), {**alike, "names": []})["names"].append(each.name)
    return [groups[key] for key in sorted(groups)]


def ema_decays(graph: tf.Graph) -> list[dict[str, Any]]:
    """The constants 1 - decay of the ranges' moving averages."""
    groups: dict[float, list[str]] = {}
    for each in graph.get_operations():
        if each.name.endswith(("/AssignMinEma/decay", "/AssignMaxEma/decay")):
            groups.setdefault(float(tf.get_static_value(each.outputs[0])), []).append(each.name)
    return [{"value": value, "names": sorted(names)} for value, names in sorted(groups.items())]


def quant_delay(graph: tf.Graph) -> list[dict[str, Any]]:
    """The comparisons that switch the FakeQuants on, by what they compare."""
    groups: dict[tuple[str, str, int], list[str]] = {}
    for each in graph.get_operations():
        if each.name.endswith("/activate_quant"):
            delay_steps = int(tf.get_static_value(each.inputs[1]))
            groups.setdefault((each.type, each.inputs[0].name, delay_steps), []).append(each.name)
    return [
        {"op": op, "step": step, "delay_steps": delay_steps, "names": sorted(names)}
        for (op, step, delay_steps), names in sorted(groups.items())
    ]


def moving_averages(graph: tf.Graph) -> list[dict[str, Any]]:
    """The batch norms' moving averages, by the type of the operation that changes them."""
    groups: dict[str, list[str]] = {}
    for name, op in updates(graph).items():
        if name.endswith(("/moving_mean", "/moving_variance")):
            groups.setdefault(op, []).append(name)
    return [{"updated_by": op, "names": sorted(names)} for op, names in sorted(groups.items())]


def new_variables(graph: tf.Graph, before: set[str]) -> list[Variable]:
    """The variables of a graph that a rewrite created, all with constant initial values; `before` names the others."""
    collections: dict[str, list[str]] = {}
    for key in sorted(graph.get_all_collection_keys()):
        for name in {each.op.name for each in graph.get_collection(key) if isinstance(each, v1.Variable)}:
            collections.setdefault(name, []).append(key)
    return [
        Variable(
            each.op.name,
            each.dtype.base_dtype.name,
            each.trainable,
            float(tf.get_static_value(each.initializer.inputs[1])),
            tuple(collections[each.op.name]),
        )
        for each in graph.get_collection(v1.GraphKeys.GLOBAL_VARIABLES)
        if each.op.name not in before
    ]


def of_original(folder: Path, mode: str) -> dict[str, Any]:
    """The inventory of a graph that TF 1.10.1 rewrote, and the digests of the files that it was read from."""
    names = (f"quant.{mode}.pb", f"{mode}.json")
    unpacked = {name: lzma.decompress((folder / f"{name}.xz").read_bytes()) for name in names}
    facts = json.loads(unpacked[f"{mode}.json"])
    created = [
        Variable(
            each["name"].removesuffix(":0"),
            each["dtype"],
            each["trainable"],
            float(each["initial_value"]),
            tuple(sorted(each["collections"])),
        )
        for each in facts["new_variables"]
    ]
    graph = imported(v1.GraphDef.FromString(unpacked[f"quant.{mode}.pb"]))
    source = {
        "tool": f"TensorFlow {facts['tf_version']}, tf.contrib.quantize.{MODES[mode]}",
        "network": f"slim's {folder.name}",
        "command": "python -m tests.golden.inventory --golden FOLDER",
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in unpacked.items()},
    }
    return {"source": source, **inventory(graph, created)}


def rendered(document: dict[str, Any]) -> str:
    """JSON with a line for each entry of a list."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value:
            lines = ",\n  ".join(json.dumps(each) for each in value)
            parts.append(f" {json.dumps(key)}: [\n  {lines}\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    golden = golden_folder(__doc__)
    FOLDER.mkdir(exist_ok=True)
    for network in NETWORKS:
        for mode in MODES:
            (FOLDER / f"{network}.{mode}.json").write_text(rendered(of_original(golden / network, mode)))


if __name__ == "__main__":
    main()
