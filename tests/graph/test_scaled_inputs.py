"""Products and sums with constants at the inputs become a part of the first layers, where that is exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize import Options, check_network, plan_inference, rewrite_inference, rewrite_training
from tests.graph.ends_runtime import Ends, build, converted, examples, measured
from tests.graph.ends_runtime import options as runtime_options
from tests.graph.networks import batch_norm, folding_layer, layer, v1, variable
from tests.hints import follows

pytestmark = pytest.mark.tf

Body = Callable[[tf.Tensor, bool], tf.Tensor]

MEANS, DEVIATIONS = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
SHAPE = (8, 8, 3)
PICTURES = np.random.default_rng(2).integers(0, 256, (6, *SHAPE)).astype(np.float32)


def imagenet(x):
    return x * tf.constant(1 / DEVIATIONS, tf.float32) + tf.constant(-MEANS / DEVIATIONS, tf.float32)


def factors(x):
    return x * tf.constant([[[[0.01, 0.02, 0.03]]]])


def caffe(x):
    return tf.cast(x, tf.float32) - [103.939, 116.779, 123.68]


def twice(x):
    """As Rescaling and Normalization in a row, with a number in front."""
    return (tf.identity(0.5 - x / 255.0) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def conv(x, name="conv", kernel=3, padding="VALID", **options):
    with v1.variable_scope(name):
        weights = variable("weights", [kernel, kernel, options.pop("channels", 3), 6])
        return tf.nn.conv2d(x, weights, options.pop("stride", 1), padding, **options)


def flat(x):
    return tf.reshape(x, [-1, int(np.prod(x.shape[1:]))])


def biased(x, name="biased"):
    return tf.nn.bias_add(x, variable(f"{name}/biases", [x.shape[-1]]))


def depthwise(x):
    return tf.nn.depthwise_conv2d(x, variable("depthwise/weights", [3, 3, 3, 2]), [1, 1, 1, 1], "VALID")


def standalone(x, training):
    return layer(batch_norm(x, training=training), "conv")


def two_layers(x):
    return flat(conv(x, "one", stride=2)), flat(biased(conv(x, "other", kernel=1, padding="SAME")))


def unfused(x, training):
    with v1.variable_scope("conv"):
        return tf.nn.relu(batch_norm(biased(conv(x)), "unfused", training=training))


def fused(x, training):
    with v1.variable_scope("conv"):
        return tf.nn.relu(batch_norm(conv(x), training=training))


def up(x):
    weights = variable("up/weights", [3, 3, 4, 3])
    return tf.nn.conv2d_transpose(x, weights, [tf.shape(x)[0], 16, 16, 4], 2, "SAME")


EXACT: Mapping[str, tuple[Callable[[Any], Any], Body]] = {
    "convolution": (imagenet, lambda x, _: tf.nn.relu(conv(x))),
    "its bias": (imagenet, lambda x, _: tf.nn.relu(biased(conv(x)))),
    "its batch norm": (imagenet, fused),
    "bias and batch norm": (imagenet, unfused),
    "same padding": (factors, lambda x, training: folding_layer(x, "conv", training=training)),
    "explicit zeros": (factors, lambda x, _: biased(conv(tf.pad(x, [[0, 0], [1, 1], [2, 0], [0, 0]])))),
    "no padding by size": (imagenet, lambda x, _: conv(x, kernel=2, stride=2, padding="SAME")),
    "one pixel": (caffe, lambda x, _: conv(x, kernel=1, padding="SAME")),
    "dilated": (imagenet, lambda x, _: biased(conv(x, dilations=2))),
    "groups": (imagenet, lambda x, _: biased(conv(x, channels=1))),
    "depthwise": (imagenet, lambda x, _: biased(depthwise(x))),
    "dense": (twice, lambda x, _: layer(flat(x), "dense", "dense")),
    "dense by place": (
        lambda x: x * tf.constant(np.linspace(0.01, 0.02, 192).reshape(SHAPE), tf.float32) - 3.0,
        lambda x, _: layer(flat(x), "dense", "transposed", bias="none"),
    ),
    "dense on pixels": (imagenet, lambda x, _: tf.tensordot(x, variable("pixels/weights", [3, 5]), 1)),
    "turned": (imagenet, lambda x, _: layer(flat(tf.transpose(x, [0, 3, 1, 2])), "dense", "dense")),
    "standalone batch norm": (imagenet, standalone),
    "transposed convolution": (factors, lambda x, _: biased(up(x))),
    "two layers": (caffe, lambda x, _: tf.concat(two_layers(x), 1)),
}  # fmt: skip


def graph_of(scale, body: Body, *, training: bool = False) -> tf.Graph:
    with tf.Graph().as_default() as graph:
        x = scale(v1.placeholder(tf.float32, [None, *SHAPE], name="x"))
        y = layer(flat(body(x, training)), "last", "dense", activation="none")
        tf.identity(y, name="y")
    return graph


def options(**more: Any) -> Options:
    return Options(mean=0, std_dev=1, **more)


def results(graph: tf.Graph, values: Mapping[str, Any], output: str = "y:0", pictures: Any = PICTURES) -> np.ndarray:
    with graph.as_default(), v1.Session() as session:
        session.run(v1.global_variables_initializer())
        for each in v1.global_variables():
            if each.op.name in values:
                each.load(values[each.op.name], session)
        scores: np.ndarray = session.run(output, {"x:0": pictures})
    return scores


def initial(graph: tf.Graph) -> dict[str, Any]:
    with graph.as_default(), v1.Session() as session:
        session.run(v1.global_variables_initializer())
        return {each.op.name: session.run(each) for each in v1.global_variables()}


def end(graph: tf.Graph) -> str:
    name: str = graph.get_operation_by_name("y").inputs[0].name
    return name


@pytest.mark.parametrize("name", EXACT)
def test_layers_with_the_scaling_in_their_weights_compute_the_same(name: str) -> None:
    scale, body = EXACT[name]
    plain, planned, trained = (graph_of(scale, body, training=each) for each in (False, False, True))
    values = initial(plain)
    expected = results(plain, values)
    asked = options(folded_inputs=frozenset({"x"}))
    check_network(planned, "x", end(planned), {}, asked)
    plan = plan_inference(planned, asked, input="x", logits=end(planned))
    assert not {row.role for row in plan.quantized} & {"mul_quant", "add_quant", "sub_quant", "operand_quant"}
    np.testing.assert_allclose(results(planned, values), expected, rtol=1e-3, atol=2e-4 * np.abs(expected).max())
    # In training, before the quantization begins, with the statistics of the batch where there is a batch norm.
    batch = results(trained, values)
    late = options(folded_inputs=frozenset({"x"}), quant_delay_steps=9)
    learnt = rewrite_training(trained, late, input="x", logits=end(trained))
    np.testing.assert_allclose(results(trained, values), batch, rtol=1e-3, atol=2e-4 * np.abs(batch).max())
    assert [(row.role, row.min_variable) for row in learnt.quantized] == [
        (row.role, row.min_variable) for row in plan.quantized
    ]


@pytest.mark.parametrize(
    ("name", "scheme", "method"),
    [
        ("convolution", "uint8", "ptq"),
        ("its batch norm", "int8_per_channel", "qat"),
        ("same padding", "int8", "qat"),
        ("groups", "int8_per_channel", "ptq"),
        ("depthwise", "int8_per_channel", "ptq"),
        ("dense", "uint8", "qat"),
        ("standalone batch norm", "uint8", "ptq"),
        ("two layers", "int8", "ptq"),
    ],
)
def test_file_has_no_operator_for_the_scaling_and_computes_what_the_graph_does(name, scheme, method, tmp_path) -> None:
    scale, body = EXACT[name]

    def whole(inputs, training):
        y = layer(flat(body(scale(inputs["x"]), training)), "last", "dense", activation="none")
        return {"y": (y, "identity")}

    outcome = converted(Ends({"x": (SHAPE, (0.0, 255.0))}, whole), tmp_path, scheme, method)
    assert not {"MUL", "ADD", "SUB", "DIV"} & set(outcome.operators)
    assert outcome.lsb("y").max() <= len([each for each in outcome.operators if each != "RESHAPE"])
    assert len(np.unique(outcome.tflite["y"])) > 10


PADDED = "the scaling by channel of the input cannot become a part of it: it pads with zeros"

REFUSED: Mapping[str, tuple[Callable[[Any], Any], Body, str, str]] = {
    "same padding": (imagenet, lambda x, _: conv(x, padding="SAME"), "conv", PADDED),
    "zeros": (imagenet, lambda x, _: conv(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])), "Pad", PADDED),
    "pool": (factors, lambda x, _: conv(tf.nn.max_pool2d(x, 2, 2, "VALID")), "MaxPool2d", "is not a layer"),
    "also added": (factors, lambda x, _: conv(x, kernel=1) + tf.concat([x, x], 3), "concat", "is not a layer"),
    "by place": (
        lambda x: x - tf.constant(np.linspace(0, 9, 192).reshape(SHAPE), tf.float32),
        lambda x, _: conv(x),
        "conv",
        "the same weights for places of different scaling",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_keeps_the_scaling_out_of_the_layers_is_named_only_where_it_must_be_folded(name: str) -> None:
    scale, body, where, why = REFUSED[name]
    graph = graph_of(scale, body)
    with pytest.raises(RewriteError, match="cannot be made fully integer") as refused:
        check_network(graph, "x", end(graph), {}, options(folded_inputs=frozenset({"x:0"})))
    ((place, text),) = refused.value.facts
    assert place.startswith(where)
    assert why in str(text)
    assert "keras.layers.Normalization(mean=[...], variance=[...])" in refused.value.hint
    report = rewrite_inference(graph, options(), input="x", logits=end(graph))
    assert {row.role for row in report.quantized} & {"mul_quant", "add_v2_quant", "add_quant", "sub_quant"}


def noisy(x, training):
    return x + 0.1 * tf.random.normal(tf.shape(x), seed=3) if training else x


def test_noise_behind_the_scaling_is_added_to_bytes_by_its_factors() -> None:
    graphs = [graph_of(imagenet, lambda x, training: conv(noisy(x, training)), training=True) for _ in range(2)]
    report = rewrite_training(graphs[0], options(quant_delay_steps=9), input="x", logits=end(graphs[0]))
    assert "input_quant" in {row.role for row in report.quantized}
    assert not {row.role for row in report.quantized} & {"mul_quant", "add_quant", "add_v2_quant"}
    values = initial(graphs[1])
    folded, plain = (results(each, values) for each in graphs)
    np.testing.assert_allclose(folded, plain, rtol=1e-3, atol=1e-3 * np.abs(plain).max())


def test_dropout_behind_a_shift_is_refused_and_behind_factors_alone_it_is_not() -> None:
    def dropped(x, training):
        return conv(tf.nn.dropout(x, 0.3, seed=1) if training else x)

    graph = graph_of(imagenet, dropped, training=True)
    with pytest.raises(RewriteError) as refused:
        rewrite_training(graph, options(), input="x", logits=end(graph))
    assert refused.value.hint == follows("put the noise (dropout) behind the first layer")
    for scale, body in (
        (factors, dropped),
        (imagenet, lambda x, training: tf.nn.dropout(conv(x), 0.3) if training else conv(x)),
    ):
        graph = graph_of(scale, body, training=True)
        report = rewrite_training(graph, options(), input="x", logits=end(graph))
        assert not {row.role for row in report.quantized} & {"mul_quant", "add_quant", "add_v2_quant"}


def convolved(inputs, _):
    return {"y": (conv(imagenet(inputs["x"])), "identity")}


def test_first_layer_may_be_the_output(tmp_path) -> None:
    outcome = converted(Ends({"x": (SHAPE, (0.0, 255.0))}, convolved), tmp_path, "int8")
    assert outcome.operators == ["CONV_2D"]
    assert outcome.lsb("y").max() <= 1


def test_error_of_the_weights_meets_values_around_0_and_not_the_bytes() -> None:
    """The mean error of a channel is that of zero-centred values: with the sum of float weights it is 0.02."""
    network = Ends({"x": (SHAPE, (0.0, 255.0))}, convolved)
    values, reals = measured(network, "int8"), examples(network)["x"]
    graphs = [build(network) for _ in range(2)]
    asked = runtime_options(network, graphs[0], "int8")
    rewrite_inference(graphs[0].graph, asked, input="x", logits=graphs[0].ends["y"])
    quantized, wanted = (results(each.graph, values, "results/y:0", reals) for each in graphs)
    assert np.abs((quantized - wanted).mean((0, 1, 2))).max() < 0.01
