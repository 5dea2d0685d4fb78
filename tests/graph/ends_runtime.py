"""Networks with several inputs and ends on their whole way: ranges measured or learnt, frozen, converted, run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qatbuild.quantize import Options, RewriteReport, plan_inference, rewrite_inference, rewrite_training
from qatbuild.quantize.calibrate.calibration import calibrate
from qatbuild.worker.tflite import inspect
from qatbuild.worker.tflite.trained_inputs import Converter, have_ranges
from tests.graph.integer_runtime import drawn, restore
from tests.graph.networks import v1

RESULTS = {"identity": tf.identity, "sigmoid": tf.sigmoid, "softmax": tf.nn.softmax}
EXAMPLES, STEPS = 16, 3


class Ends(NamedTuple):
    """A network: its inputs' shapes and ranges (None: learnt), and its function of inputs and of `training`.

    The function returns a tensor and the operation of its result by the name of the output.
    """

    inputs: Mapping[str, tuple[tuple[int, ...], tuple[float, float] | None]]
    body: Callable[[Mapping[str, tf.Tensor], bool], Mapping[str, tuple[tf.Tensor, str]]]
    ranges: Mapping[str, tuple[float, float]] = {}


class Built(NamedTuple):
    graph: tf.Graph
    ends: Mapping[str, str]


class Outcome(NamedTuple):
    """`graph`, `tflite`: outputs by name in steps of their scale; `tensors`: inputs and outputs of the file by name."""

    report: RewriteReport
    operators: list[str]
    graph: Mapping[str, np.ndarray]
    tflite: Mapping[str, np.ndarray]
    tensors: Mapping[str, inspect.Tensor]
    input_ranges: Mapping[str, tuple[float, float]]

    def lsb(self, name: str) -> np.ndarray:
        return np.abs(self.graph[name] - self.tflite[name])


def build(network: Ends, *, training: bool = False) -> Built:
    with tf.Graph().as_default() as graph:
        inputs = {
            name: v1.placeholder(tf.float32, [None, *each[0]], name=name) for name, each in network.inputs.items()
        }
        outputs = network.body(inputs, training)
        for name, (tensor, result) in outputs.items():
            RESULTS[result](tensor, name=f"results/{name}")
    return Built(graph, {name: tensor.name for name, (tensor, _) in outputs.items()})


def options(network: Ends, built: Built, scheme: str) -> Options:
    ranges = {built.ends[name]: ends for name, ends in network.ranges.items()}
    return Options(
        mean=0, std_dev=1, scheme=scheme, output_ranges=ranges,
        input_ranges={name: ends for name, (_, ends) in network.inputs.items()},
    )  # fmt: skip


def examples(network: Ends) -> dict[str, np.ndarray]:
    """Real values within the range of each input, or around -1 for one that is learnt."""
    random = np.random.default_rng(3)
    drawn_values = {}
    for name, (shape, ends) in network.inputs.items():
        low, high = ends or (-3.0, 1.5)
        drawn_values[name] = random.uniform(low, high, (EXAMPLES, *shape)).astype(np.float32)
    return drawn_values


def measured(network: Ends, scheme: str) -> dict[str, Any]:
    """The value of each variable by ptq: weights, and ranges measured on the examples."""
    built = build(network)
    asked = options(network, built, scheme)
    plan = plan_inference(built.graph, asked, input=list(network.inputs), logits=list(built.ends.values()))
    with built.graph.as_default(), v1.Session() as session:
        session.run(v1.global_variables_initializer())
        restore(session, {each.op.name: drawn(each, session) for each in v1.global_variables()})
        values = {each.op.name: session.run(each) for each in v1.global_variables()}
        return values | calibrate(session, plan, list(network.inputs), lambda: iter([examples(network)]))


def learnt(network: Ends, scheme: str) -> dict[str, Any]:
    """The value of each variable by qat: a few steps that pull all ends towards 0."""
    built = build(network, training=True)
    asked = options(network, built, scheme)
    rewrite_training(built.graph, asked, input=list(network.inputs), logits=list(built.ends.values()))
    feeds = {f"{name}:0": value for name, value in examples(network).items()}
    with built.graph.as_default(), v1.Session() as session:
        results = [built.graph.get_tensor_by_name(f"results/{name}:0") for name in built.ends]
        step = v1.train.GradientDescentOptimizer(1e-3).minimize(tf.add_n([tf.reduce_mean(each**2) for each in results]))
        session.run(v1.global_variables_initializer())
        restore(session, {each.op.name: drawn(each, session) for each in v1.global_variables()})
        for _ in range(STEPS):
            session.run(step, feeds)
        return {each.op.name: session.run(each) for each in v1.global_variables()}


def converted(
    network: Ends, folder: Path, scheme: str = "uint8", method: str = "ptq", kernels: str = "reference"
) -> Outcome:
    values = (measured if method == "ptq" else learnt)(network, scheme)
    built = build(network)
    asked = options(network, built, scheme)
    report = rewrite_inference(built.graph, asked, input=list(network.inputs), logits=list(built.ends.values()))
    reals = examples(network)
    names = [f"results/{name}" for name in built.ends]
    with built.graph.as_default(), v1.Session() as session:
        session.run(v1.global_variables_initializer())
        assert {each.op.name for each in v1.global_variables()} <= set(values)
        restore(session, values)
        fetched = session.run([f"{name}:0" for name in names], {f"{name}:0": value for name, value in reals.items()})
        frozen = v1.graph_util.convert_variables_to_constants(session, built.graph.as_graph_def(), names)
    frozen = v1.graph_util.remove_training_nodes(frozen, protected_nodes=names)
    assert have_ranges(frozen, network.inputs)
    (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
    rows = {row.tensor: row for row in report.quantized if row.role.startswith("input_quant")}
    ranges = {}
    for name in network.inputs:
        row = rows[f"{name}:0"]
        ranges[name] = row.fixed or (values[row.min_variable], values[row.max_variable])
    path = folder / "model.tflite"
    path.write_bytes(_convert(folder / "frozen.pb", network, names, scheme))
    model = inspect.read(path)
    assert inspect.unsupported_ops(model, scheme) == ()
    operators = [each.name for each in model.operators]
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(operators)
    tflite, tensors = _run(path, model, reals, names, kernels)
    graph = {}
    for name, value in zip(built.ends, fetched, strict=True):
        graph[name] = np.rint(value / np.float32(tensors[name].scales[0]))
    return Outcome(report, operators, graph, tflite, tensors, ranges)


def _convert(frozen: Path, network: Ends, names: list[str], scheme: str) -> bytes:
    def once(shapes: Mapping[str, list[int]] | None = None) -> bytes:
        converter = Converter.from_frozen_graph(str(frozen), list(network.inputs), names, shapes)
        converter.inference_type = tf.uint8 if scheme == "uint8" else tf.int8
        return bytes(converter.convert())

    data = once()
    one = {name: [1, *shape] for name, (shape, _) in network.inputs.items()}
    return once(one) if inspect.computes_shapes(data) else data


def _run(path: Path, model: inspect.Flatbuffer, reals: Mapping[str, np.ndarray], names: list[str], kernels: str):
    resolver = {"reference": OpResolverType.BUILTIN_REF, "xnnpack": OpResolverType.AUTO}[kernels]
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    sources, results = interpreter.get_input_details(), interpreter.get_output_details()
    assert [each["name"] for each in sources] == list(reals)
    outputs: list[list[np.ndarray]] = [[] for _ in results]
    for index in range(EXAMPLES):
        for each in sources:
            scale, zero_point = each["quantization"]
            limits = np.iinfo(each["dtype"])
            value = np.rint(reals[each["name"]][index] / np.float32(scale)) + zero_point
            interpreter.set_tensor(each["index"], np.clip(value, limits.min, limits.max).astype(each["dtype"])[None])
        interpreter.invoke()
        for number, each in enumerate(results):
            outputs[number].append(
                interpreter.get_tensor(each["index"])[0].astype(np.float32) - each["quantization"][1]
            )
    tensors = {
        name.removeprefix("results/"): model.tensors[index] for name, index in zip(names, model.outputs, strict=True)
    }
    tensors |= {name: model.tensors[index] for name, index in zip(reals, model.inputs, strict=True)}
    return {name.removeprefix("results/"): np.stack(each) for name, each in zip(names, outputs, strict=True)}, tensors
