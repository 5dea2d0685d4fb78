"""The rewrite against graphs that the original tool (TF 1.10.1) rewrote: ../shared/golden.

Two starting points. Where batch norm need not be folded, the float graph. For every network, the original's own
result with its FakeQuants taken out again: there the insertion alone is compared, also behind folded batch norms,
residual additions and in concatenated branches.
"""

from __future__ import annotations

import json
import lzma
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import create_eval_graph, create_training_graph

v1 = tf.compat.v1
GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
WITHOUT_BATCH_NORM = ["cifarnet", "cifarnet_lrn", "lenet"]
NETWORKS = [*WITHOUT_BATCH_NORM, "mobilenet_v1_025_128", "inception_v1", "resnet_v1_50"]
QUANT_DELAY = 1000
INSERTED = re.compile(r"(^|/)(weights|act|conv|add|post_activation_bypass)_quant(_\d+)?/|^fake_quantization_step")

pytestmark = [
    pytest.mark.tf,
    pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden graphs (../shared/golden) are not here"),
]

modes = pytest.mark.parametrize("mode", ["train", "eval"])


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


def rewrite(graph, mode):
    return create_training_graph(graph, QUANT_DELAY) if mode == "train" else create_eval_graph(graph)


def without_fake_quants(graph_def):
    """The graph before FakeQuants were inserted, the batch norms folded as they are."""
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
    """Each FakeQuant of a graph by its min variable, in the words of the golden inventories."""
    found = {}
    for operation in graph.get_operations():
        if operation.type != "FakeQuantWithMinMaxVars":
            continue
        source = operation.inputs[0]
        prefix = operation.name.rpartition("/")[0]
        merges = sorted({each.name for each in graph.get_operations() if each.name == f"{prefix}/delayed_quant/Merge"})
        output = graph.get_operation_by_name(merges[0]).outputs[0] if merges else operation.outputs[0]
        others = [each for each in source.consumers() if not each.name.startswith(f"{prefix}/")]
        found[f"{prefix}/min"] = {
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
    return found


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


def assert_same_insertion(graph, report, inventory):
    assert fake_quants(graph) == expected_fake_quants(inventory)
    assert len(report.quantized) == inventory["n_fakequant"]
    assert new_variables(graph) == {
        (each["name"], each["dtype"], each["trainable"], tuple(sorted(each["collections"])))
        for each in inventory["new_variables"]
    }


@modes
@pytest.mark.parametrize("network", WITHOUT_BATCH_NORM)
def test_float_graph_gets_the_originals_fake_quants(network, mode):
    graph = imported(golden_graph_def(network, f"float.{mode}"))
    report = rewrite(graph, mode)
    assert_same_insertion(graph, report, golden_inventory(network, mode))
    assert report.left_float == ()


@modes
@pytest.mark.parametrize("network", NETWORKS)
def test_folded_graph_gets_the_originals_fake_quants(network, mode):
    graph = imported(without_fake_quants(golden_graph_def(network, f"quant.{mode}")))
    report = rewrite(graph, mode)
    assert_same_insertion(graph, report, golden_inventory(network, mode))


@pytest.mark.parametrize("network", WITHOUT_BATCH_NORM)
def test_gates_are_the_originals(network):
    graph = imported(golden_graph_def(network, "float.train"))
    create_training_graph(graph, QUANT_DELAY)
    expected = golden_inventory(network, "train")["gating"]
    gates = [each for each in graph.get_operations() if each.name.endswith("/activate_quant")]
    assert len(gates) == expected["activate_quant"]
    assert {each.inputs[0].name for each in gates} == {"fake_quantization_step/Identity:0"}
    assert {str(tf.get_static_value(each.inputs[1])) for each in gates} == set(expected["thresholds"])


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


@pytest.mark.parametrize(
    ("network", "start"),
    [*((network, "float") for network in WITHOUT_BATCH_NORM), *((network, "folded") for network in NETWORKS)],
)
def test_eval_graph_computes_the_originals_outputs(network, start):
    original = golden_graph_def(network, "quant.eval")
    mine = imported(golden_graph_def(network, "float.eval") if start == "float" else without_fake_quants(original))
    create_eval_graph(mine)
    inventory = golden_inventory(network, "eval")
    # The logits' handle is the tensor before its FakeQuant, unless a Squeeze follows: what comes last is compared.
    last = {each["input"]: each["name"] + ":0" for each in inventory["fake_quants"]}
    fetch = last.get(inventory["logits"], inventory["logits"])
    shape = mine.get_tensor_by_name("input:0").shape[1:]
    reference = outputs(imported(original), shape, fetch)
    assert np.ptp(reference) > 0
    np.testing.assert_allclose(outputs(mine, shape, fetch), reference, rtol=0, atol=1e-5)


def with_fixed_seeds(graph_def):
    """Dropout draws the same numbers in both graphs: it is named alike in both."""
    for node in graph_def.node:
        if node.op == "RandomUniform":
            node.attr["seed"].i, node.attr["seed2"].i = 7, zlib.crc32(node.name.encode())
    return graph_def


def ranges_after(graph, network, steps):
    """The inserted variables after some steps, the gates opening in the middle of them; and each step's loss."""
    random = np.random.default_rng(2)
    losses = []
    with v1.Session(graph=graph) as session:
        zero = {"biased": 0, "local_step": 0, "min": -6, "max": 6}
        assign_values(session)
        assign_values(session, lambda each, _: zero[each.name.rpartition("/")[2]],
                      lambda name: "_quant/" in name)  # fmt: skip
        assign_values(session, lambda *_: QUANT_DELAY - steps // 2, lambda name: name == "fake_quantization_step")
        for step in range(steps):
            feed = {
                f"{name}:0": (step + 1) * random.normal(size=graph.get_tensor_by_name(f"{name}:0").shape)
                for name in ("input", "labels")
            }
            losses.append(session.run("total_loss:0", feed))
        names = [each["name"] for each in golden_inventory(network, "train")["new_variables"]]
        return dict(zip(names, session.run(names), strict=True)), losses


@pytest.mark.parametrize("network", WITHOUT_BATCH_NORM)
def test_training_graph_reaches_the_originals_ranges(network):
    mine = imported(with_fixed_seeds(golden_graph_def(network, "float.train")))
    create_training_graph(mine, QUANT_DELAY)
    original = imported(with_fixed_seeds(golden_graph_def(network, "quant.train")))
    ranges, losses = ranges_after(mine, network, steps=6)
    expected_ranges, expected_losses = ranges_after(original, network, steps=6)
    assert ranges["fake_quantization_step:0"] == QUANT_DELAY + 3
    for name, expected in expected_ranges.items():
        np.testing.assert_allclose(ranges[name], expected, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)


def test_checkpoint_of_tf_1_10_restores_by_name_and_computes_its_outputs():
    checkpoint = tf.train.load_checkpoint(str(GOLDEN / "tf1_cifarnet" / "model.ckpt-420"))
    recorded = np.load(GOLDEN / "tf1_cifarnet" / "compare256.npz")
    training = imported(golden_graph_def("cifarnet", "float.train"))
    create_training_graph(training, quant_delay=210)
    variables = {each.name for each in training.get_operations() if each.type == "VariableV2"}
    assert variables == set(checkpoint.get_variable_to_shape_map())

    evaluation = imported(golden_graph_def("cifarnet", "float.eval"))
    create_eval_graph(evaluation)
    images = (np.float32(recorded["inputs_uint8"]) - recorded["mean"]) / recorded["std"]
    with v1.Session(graph=evaluation) as session:
        assign_values(session, lambda each, _: checkpoint.get_tensor(each.name))
        found = session.run("CifarNet/Predictions/Softmax:0", {"input:0": images})
    # Another release's convolutions sum in another order: a value at a half goes one code up or down.
    assert np.mean(found.argmax(1) == recorded["frozen_out"].argmax(1)) >= 0.99
    np.testing.assert_allclose(found, recorded["frozen_out"], rtol=0, atol=0.02)
