"""A network that is refused becomes fully integer when it is written as the hint says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize import Override, check_network, rewrite_inference
from tests.graph.integer_runtime import converted, network_graph, options
from tests.graph.networks import folding_layer, layer, v1, variable
from tests.graph.test_integer_refusals import REFUSED
from tests.hints import follows

pytestmark = pytest.mark.tf

Body = Callable[[Any], Any]


def plain(x):
    return layer(x, "c")


def normed(x):
    return folding_layer(x, "c", training=False)


def linear(x, name="c"):
    return layer(x, name, activation="none")


def activations(x):
    """All that a hint calls an activation with an integer form, in mode integer."""
    slope = variable("slope", [4])
    x = tf.nn.relu6(linear(tf.nn.relu(linear(x, "a")), "b"))
    x = linear(tf.nn.leaky_relu(linear(x)), "d")
    x = linear(x * tf.nn.relu6(x + 3.0) * (1 / 6), "e")
    x = linear(x * tf.nn.sigmoid(x), "f")
    x = linear(tf.nn.relu(x) - slope * tf.nn.relu(-x), "g")
    return tf.minimum(tf.nn.relu(x), 4.0)


def both(x):
    """One layer, the result of which is used twice."""
    x = linear(x)
    return tf.nn.relu(x) + x


def chosen(x):
    """A batch norm that a tensor switches from training to inference."""
    x = layer(x, "c", bias="none", activation="none")
    with v1.variable_scope("c", reuse=v1.AUTO_REUSE):
        training = v1.placeholder_with_default(False, [])
        return tf.cond(training, lambda: tf.nn.relu(x), lambda: x * 2.0)


def channels_first(x):
    return tf.nn.avg_pool2d(layer(x, "c"), 2, 2, "SAME", data_format="NCHW")


def dilated(x):
    """A resize with a dilated convolution behind it."""
    x = v1.image.resize_nearest_neighbor(layer(x, "c"), [16, 16])
    return tf.nn.conv2d(x, variable("weights", [3, 3, 4, 4]), 1, "SAME", dilations=2)


def transposed(x):
    return tf.nn.conv2d_transpose(x, variable("weights", [5, 5, 4, 4]), [tf.shape(x)[0], 16, 16, 4], 2, "SAME")


def batch_products(x):
    pixels = tf.reshape(layer(x, "c"), [-1, 64, 4])
    return tf.matmul(pixels, pixels, transpose_b=True)


def looped(x):
    return tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, tf.nn.relu(y)), [0, layer(x, "c")])[1]


def from_python(x):
    y = v1.py_func(lambda values: values, [layer(x, "c")], tf.float32)
    y.set_shape(x.shape)
    return layer(y, "d")


def broadcast(x):
    x = layer(x, "c")
    return x + tf.broadcast_to(tf.reduce_mean(x, [1, 2], keepdims=True), tf.shape(x))


def pointwise(x):
    return tf.nn.conv2d(x, variable("weights", [1, 1, 4, 4]), 1, "SAME")


def usual(x):
    """What the hint for an unknown operation names."""
    x = tf.nn.max_pool2d(layer(x, "c"), 2, 2, "SAME")
    x = tf.concat([tf.sigmoid(linear(x, "d")), tf.nn.tanh(linear(x, "e"))], 3)[..., 2:6]
    return tf.nn.softmax(layer(tf.nn.relu(x) + x, "f"))


MORE_REFUSED: dict[str, Body] = {
    "index": lambda x: tf.one_hot(tf.argmax(layer(x, "c"), -1), 4),
    "products of results": batch_products,
    "broadcast": broadcast,
    "half": lambda x: tf.cast(tf.cast(layer(x, "c"), tf.float16), tf.float32),
    "einsum": lambda x: tf.einsum("bhwc,cd->bhwd", layer(x, "c"), variable("weights", [4, 4])),
    "fixed range": lambda x: tf.quantization.fake_quant_with_min_max_args(layer(x, "c")),
    "gathered": lambda x: tf.gather_nd(layer(x, "c"), [[0, 1], [0, 2]]),
    "loop": looped,
    "pool with indices": lambda x: tf.nn.max_pool_with_argmax(layer(x, "c"), 2, 2, "SAME")[0],
    "least": lambda x: tf.reduce_min(layer(x, "c"), [1, 2]),
    "python": from_python,
    "bicubic": lambda x: v1.image.resize_bicubic(layer(x, "c"), [16, 16]),
    "reversed": lambda x: tf.reverse(layer(x, "c"), [1]),
    "squared difference": lambda x: tf.math.squared_difference(layer(x, "c"), layer(x, "d")),
    "select": lambda x: tf.where(linear(x) > 0.0, x, 0.1 * x),
    "clip below": lambda x: tf.minimum(layer(x, "c"), -1.0),
    "sums": lambda x: tf.add_n([layer(x, "c"), layer(x, "d"), x]),
    "switch": chosen,
    "channels first": channels_first,
    "depth to space": lambda x: tf.nn.depth_to_space(layer(x, "c"), 2),
    "selu": lambda x: tf.nn.selu(layer(x, "c")),
    "erf": lambda x: tf.math.erf(layer(x, "c")),
}
FOLLOWED: dict[str, tuple[str, Body, *tuple[Body, ...]]] = {
    "dilated transposed": (follows("take a larger kernel, or a resize (UpSampling2D) with a"), transposed, dilated),
    "explicit pool": (
        follows('take padding "SAME" or "VALID"; behind a ReLU, pad with tf.pad'),
        lambda x: tf.nn.max_pool2d(layer(x, "c"), 2, 2, "VALID"),
        lambda x: tf.nn.max_pool2d(tf.pad(layer(x, "c"), [[0, 0], [1, 1], [1, 1], [0, 0]]), 2, 2, "VALID"),
    ),
    "pooled channels": (follows("take a convolution with a kernel of 1 x 1 to join"), pointwise),
    "absolute": (follows("use tf.nn.relu(x) + tf.nn.relu(-x)"), lambda x: tf.nn.relu(x) + tf.nn.relu(-x)),
    "index": (follows("end the network with the scores; the application"), plain),
    "products of results": (
        follows("take a dense layer, whose weights are the second operand"),
        lambda x: layer(tf.reshape(x, [-1, 256]), "c", "dense"),
    ),
    "broadcast": (follows("leave it out: sums and products broadcast"), lambda x: x + tf.reduce_mean(x, [1, 2], True)),
    "half": (follows("build the network in float32"), plain),
    "einsum": (
        follows("take a dense layer or a convolution with a kernel of 1 x 1, which"),
        pointwise,
        lambda x: layer(tf.reshape(x, [-1, 256]), "c", "dense"),
    ),
    "fixed range": (follows("leave it out: the build inserts what is needed"), plain),
    "gathered": (
        follows("use tf.gather, or slices"),
        lambda x: tf.gather(layer(x, "c"), [0, 2], axis=1),
        lambda x: layer(x, "c")[:, 1:3],
    ),
    "loop": (follows("write the steps one after another"), lambda x: tf.nn.relu(linear(tf.nn.relu(linear(x)), "d"))),
    "pool with indices": (follows("use tf.nn.max_pool2d"), lambda x: tf.nn.max_pool2d(layer(x, "c"), 2, 2, "SAME")),
    "least": (follows("use -tf.reduce_max(-x)"), lambda x: -tf.reduce_max(-linear(x), [1, 2])),
    "python": (follows("write it with operations of TensorFlow"), plain),
    "bicubic": (
        follows("resize with nearest neighbour or bilinear"),
        lambda x: v1.image.resize_nearest_neighbor(layer(x, "c"), [16, 16]),
        lambda x: v1.image.resize_bilinear(layer(x, "c"), [16, 16]),
    ),
    "reversed": (follows("use a slice with step -1, x[:, ::-1]"), lambda x: layer(x, "c")[:, ::-1]),
    "squared difference": (follows("use (x - y) ** 2"), lambda x: (layer(x, "c") - layer(x, "d")) ** 2),
    "no hint of its own": (follows("take convolutions, dense layers, pools, sums, ReLU, sigmoid"), usual),
    "lrn": (follows("leave it out, or put a batch norm behind the layer before"), plain, normed),
    "dropout": (follows("leave it out where training is False"), plain),
    "noise": ("leave it out where training is False", plain),
    "elu": (follows("use ReLU or ReLU6; "), activations),
    "selu": ("use ReLU or ReLU6; ", activations),
    "erf": ("use ReLU or ReLU6; ", activations),
    "select": (follows("use ReLU, ReLU(max_value=...), leaky ReLU or PReLU"), activations),
    "sum": (follows("use the mean instead"), lambda x: tf.reduce_mean(layer(x, "c"), [1, 2])),
    "power": (follows("multiply the tensor by itself"), lambda x: x * x * layer(x, "c")),
    "clip": (follows("clip to a range that contains 0"), lambda x: tf.clip_by_value(linear(x), 0.0, 4.0)),
    "clip below": ("clip to a range that contains 0", lambda x: tf.clip_by_value(linear(x), -1.0, 1.0)),
    "twice": (follows("call the layer once on each input, and use its"), both),
    "axis": (follows("let it normalize the last axis, the channels, with"), normed),
    "batch statistics": ("with moving averages of mean and variance", normed),
    "part that is not read": (follows("take the parts that are read by slicing"), lambda x: layer(x, "c")[..., :2]),
    "atrous": (
        follows("write it as tf.nn.conv2d(..., dilations=...)"),
        lambda x: tf.nn.conv2d(x, variable("weights", [3, 3, 4, 4]), 1, "SAME", dilations=2),
    ),
    "standardization": (follows("scale all images alike"), plain),
    "sums": (follows("add two tensors at a time"), lambda x: layer(x, "c") + layer(x, "d") + x),
    "switch": (follows("build the network with training True or False, not"), lambda x: 2.0 * linear(x)),
    "channels first": (follows("build it with its channels last"), lambda x: tf.nn.avg_pool2d(x, 2, 2, "SAME")),
    "depth to space": (
        follows('use "scheme": "uint8", or resize (nearest neighbour or bilinear)'),
        lambda x: v1.image.resize_nearest_neighbor(layer(x, "c"), [16, 16]),
        lambda x: v1.image.resize_bilinear(layer(x, "c"), [16, 16]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_network_that_follows_the_hint_is_accepted(name):
    hint, *bodies = FOLLOWED[name]
    body = MORE_REFUSED.get(name) or REFUSED[name][0]
    graph, logits = network_graph(lambda x, _: body(x))
    with pytest.raises(RewriteError, match="cannot be made fully integer") as caught:
        check_network(graph, "input", logits, {}, options("int8"))
    assert hint in caught.value.hint
    if '"scheme": "uint8"' in hint:
        check_network(graph, "input", logits, {}, options("uint8"))
    for each in bodies:
        graph, logits = network_graph(lambda x, _, each=each: each(x))
        check_network(graph, "input", logits, {}, options("int8"))


def test_networks_that_follow_the_hints_are_fully_integer(tmp_path):
    bodies = dict.fromkeys(body for _, *bodies in FOLLOWED.values() for body in bodies)

    def all_of_them(x, training):  # noqa: ARG001
        parts = []
        for number, body in enumerate(bodies):
            with v1.variable_scope(f"network{number}"):
                part = body(layer(x, "own"))
                flat = tf.reshape(part, [-1, int(tf.TensorShape(part.shape[1:]).num_elements())])
                parts.append(layer(flat, "last", "dense", activation="none"))
        return tf.concat(parts, 1)

    outcome = converted(all_of_them, tmp_path)
    assert outcome.unsupported == ()
    assert outcome.lsb.max() <= 8


IN_TF1 = {
    "negative": (follows('write "mode": "integer", which reads more'), lambda x: -layer(x, "c"), "integer"),
    "clip": ("use ReLU or ReLU6; ", lambda x: tf.minimum(linear(x), 1.0), "integer"),
    "norm": (
        follows("put it, with moving averages of mean and variance, directly behind"),
        lambda x: folding_layer(x, "c"), "tf1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_TF1)
def test_a_network_that_follows_the_hint_of_mode_tf1_is_accepted(name):
    hint, body, mode = IN_TF1[name]
    graph, logits = network_graph(lambda x, _: body(x))
    with pytest.raises(RewriteError, match="cannot be made fully integer") as caught:
        check_network(graph, "input", logits, {}, options(mode="tf1"))
    assert hint in caught.value.hint
    graph, logits = network_graph(lambda x, _: normed(x) if mode == "tf1" else body(x))
    check_network(graph, "input", logits, {}, options(mode=mode))
    graph, logits = network_graph(lambda x, _: tf.nn.relu6(linear(layer(x, "d"))))
    check_network(graph, "input", logits, {}, options(mode="tf1"))


def test_a_network_whose_layer_has_variables_is_rewritten():
    graph, logits = network_graph(lambda x, _: tf.nn.max_pool2d(x, 2, 2, "SAME"))
    with graph.as_default():
        tf.nn.softmax(graph.get_tensor_by_name("input:0"), name="softmax")
    with pytest.raises(RewriteError) as caught:
        rewrite_inference(graph, options(), input="input", logits="softmax")
    assert follows("Begin it with a convolution or a dense layer") in caught.value.hint
    rewrite_inference(graph, options(), input="input", logits=logits)


def test_an_override_by_the_layers_name_is_taken():
    graph, logits = network_graph(lambda x, _: layer(x, "conv"))
    with pytest.raises(RewriteError) as caught:
        rewrite_inference(graph, options(overrides=(Override("con", range=(0, 1)),)), input="input", logits=logits)
    assert follows("Write the name of a layer; * matches any letters") in caught.value.hint
    report = rewrite_inference(
        graph, options(overrides=(Override("con*", range=(0, 1)),)), input="input", logits=logits
    )
    assert any(each.fixed == (0, 1) for each in report.quantized)
