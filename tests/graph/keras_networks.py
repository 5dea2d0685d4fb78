"""Networks of Keras layers with one special feature each: functions of images [n, 8, 8, 4] and of `training`."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import layers as L  # noqa: N812

from qatbuild.worker.models import keras_model
from tests.graph.networks import layer, variable

v1 = tf.compat.v1
NETWORKS: dict[str, Callable[..., tf.Tensor]] = {}


def network(function):
    """Registers a function from a symbolic Keras tensor to another, as a network of that name."""

    def body(images, training):
        def draft(inputs):
            source = keras.Input(inputs["images"].shape[1:])
            return keras.Model(source, L.Flatten(name="flat")(function(source)), name="net")

        inputs = {"images": images}
        model = keras_model.drafted(draft, inputs)
        return keras_model.build(inputs, model, {"labels": "softmax"}, training=training)["labels"]

    NETWORKS[function.__name__] = body
    return body


def relu_norm(x, name, **settings):
    return L.ReLU(name=f"{name}_relu")(L.BatchNormalization(name=f"{name}_bn", **settings)(x))


@network
def conv1d(x):
    x = L.Reshape((16, 16), name="frames")(x)
    x = relu_norm(L.Conv1D(8, 5, padding="same", use_bias=False, name="first")(x), "first")
    x = L.MaxPooling1D(2, name="pool")(x)
    x = relu_norm(L.Conv1D(8, 3, name="second")(x), "second")
    x = relu_norm(L.DepthwiseConv1D(3, padding="same", name="third")(x), "third")
    x = L.SeparableConv1D(8, 3, activation="relu", name="fourth")(x)
    return L.GlobalAveragePooling1D(name="mean")(x)


@network
def causal(x):
    x = L.Reshape((16, 16), name="frames")(x)
    x = L.Conv1D(8, 3, padding="causal", dilation_rate=1, activation="relu", name="first")(x)
    x = L.Conv1D(8, 3, padding="causal", dilation_rate=2, activation="relu", name="second")(x)
    x = relu_norm(L.Conv1D(8, 3, padding="causal", dilation_rate=4, name="third")(x), "third")
    return L.GlobalAveragePooling1D(name="mean")(x)


@network
def transposed1d(x):
    x = L.Reshape((16, 16), name="frames")(x)
    x = relu_norm(L.Conv1DTranspose(8, 3, strides=2, padding="same", name="up")(x), "up")
    return L.GlobalAveragePooling1D(name="mean")(x)


@network
def transposed(x):
    x = relu_norm(L.Conv2DTranspose(8, 3, strides=2, padding="same", use_bias=False, name="up")(x), "up")
    x = relu_norm(L.Conv2DTranspose(8, 2, strides=2, name="again")(x), "again")
    return L.GlobalAveragePooling2D(name="mean")(x)


@network
def dilated(x):
    for number, (rate, padding) in enumerate([(1, "same"), (2, "same"), (3, "same"), (2, "valid")]):
        x = L.Conv2D(8, 3, padding=padding, dilation_rate=rate, use_bias=False, name=f"conv{number}")(x)
        x = relu_norm(x, f"conv{number}")
    return L.GlobalAveragePooling2D(name="mean")(x)


@network
def dilated_bias(x):
    x = L.Conv2D(8, 3, padding="same", dilation_rate=(2, 1), activation="relu", name="one")(x)
    x = L.DepthwiseConv2D(3, padding="same", dilation_rate=2, activation="relu6", name="two")(x)
    x = relu_norm(L.DepthwiseConv2D(3, padding="same", dilation_rate=3, name="three")(x), "three")
    x = relu_norm(L.SeparableConv2D(8, 3, padding="same", dilation_rate=2, name="four")(x), "four")
    return L.Conv2D(8, 3, dilation_rate=2, name="five")(x)


@network
def prelu(x):
    x = L.PReLU(shared_axes=[1, 2], alpha_initializer=keras.initializers.RandomUniform(-0.2, 0.5), name="p1")(
        L.Conv2D(8, 3, padding="same", name="one")(x)
    )
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="two")(x)
    x = L.BatchNormalization(name="bn")(x)
    x = L.PReLU(alpha_initializer="zeros", name="p2")(x)
    x = L.Flatten(name="flat0")(x)
    x = L.Dense(16, name="fc")(x)
    return L.PReLU(alpha_initializer=keras.initializers.Constant(0.25), name="p3")(x)


@network
def prelu_axes(x):
    """Slopes for each column of each channel, for each row, and of sequences for each value and for each channel."""

    def slopes(name, **form):
        return L.PReLU(**form, alpha_initializer=keras.initializers.RandomUniform(-0.2, 0.5), name=name)

    x = slopes("columns", shared_axes=[1])(L.Conv2D(4, 3, padding="same", name="one")(x))
    x = slopes("rows", shared_axes=[2])(L.Conv2D(4, 3, padding="same", name="two")(x))
    x = L.Reshape((16, 16), name="frames")(x)
    x = slopes("steps")(L.Conv1D(4, 3, padding="same", name="three")(x))
    return slopes("channels", shared_axes=[1])(L.Conv1D(4, 3, padding="same", name="four")(x))


@network
def joined(x):
    """Sigmoid, softmax, tanh, a wide branch, the same tensor twice, concatenations of concatenations."""
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(x)
    score = L.Conv2D(4, 1, activation="sigmoid", name="score")(x)
    box = L.Conv2D(4, 1, kernel_initializer=keras.initializers.RandomNormal(stddev=5.0, seed=1), name="box")(x)
    x = L.Concatenate(name="join")([score, box, x])
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="after")(x)
    gate = L.Conv2D(4, 1, activation="tanh", name="gate")(x)
    other = L.MaxPooling2D(2, 1, padding="same", name="pool")(L.Conv2D(4, 1, activation="sigmoid", name="other")(x))
    y = L.Concatenate(name="join2")([gate, other])
    y = L.Concatenate(name="join3")([y, x, x])
    return L.Concatenate(name="join4")([y, L.Softmax(name="soft")(y)])


@network
def input_joined(x):
    y = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(x)
    return L.Concatenate(name="join")([x, y])


@network
def normed_everywhere(x):
    x = L.BatchNormalization(name="bn_in")(x)
    y = L.Conv2D(8, 3, padding="same", activation="relu", name="one")(x)
    y = L.BatchNormalization(scale=False, name="bn_one")(y)
    z = L.Conv2D(8, 3, padding="same", name="two")(y)
    x = L.BatchNormalization(name="bn_cat")(L.Concatenate(name="cat")([x, y]))
    x = L.Conv2D(8, 1, name="three")(x)
    x = L.BatchNormalization(center=False, name="bn_add")(L.Add(name="add")([x, z]))
    x = L.BatchNormalization(name="bn_pool")(L.MaxPooling2D(2, name="pool")(x))
    x = L.Flatten(name="flat0")(x)
    x = L.Dense(32, activation="relu", name="fc")(x)
    x = L.BatchNormalization(name="bn_fc")(x)
    x = L.Dense(16, name="fc2")(x)
    x = L.ReLU(name="relu_fc2")(L.BatchNormalization(name="bn_fc2")(x))
    x = L.Dense(16, use_bias=False, name="fc3")(x)
    return L.ReLU(name="relu_fc3")(L.BatchNormalization(scale=False, center=False, name="bn_fc3")(x))


@network
def bare_norms(x):
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="one")(x)
    x = relu_norm(x, "one", scale=False, center=False)
    x = L.DepthwiseConv2D(3, padding="same", use_bias=False, name="two")(x)
    x = relu_norm(x, "two", scale=True, center=False)
    x = L.Conv2D(8, 3, padding="same", name="three")(x)
    return relu_norm(x, "three", scale=False, center=True)


@network
def pools(x):
    """InceptionV3: a max pool that a convolution and an average pool read."""
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(x)
    x = L.MaxPooling2D(3, 2, name="max")(x)
    a = L.Conv2D(4, 1, activation="relu", name="a")(x)
    p = L.Conv2D(4, 1, activation="relu", name="p")(L.AveragePooling2D(3, 1, padding="same", name="avg")(x))
    x = L.Concatenate(name="join")([a, p, L.MaxPooling2D(2, 1, padding="same", name="beside")(x)])
    b = L.Conv2D(4, 1, activation="relu", name="b")(x)
    q = L.Conv2D(4, 1, activation="relu", name="q")(L.AveragePooling2D(3, 1, padding="same", name="avg2")(x))
    return L.GlobalAveragePooling2D(name="mean")(L.Concatenate(name="join2")([b, q]))


@network
def pools2(x):
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(x)
    m = L.MaxPooling2D(2, name="max")(x)
    a = L.AveragePooling2D(2, name="avg")(x)
    x = L.Concatenate(name="join")([m, a])
    y = L.AveragePooling2D(2, 1, padding="same", name="avg2")(L.MaxPooling2D(2, 1, padding="same", name="max2")(x))
    z = L.MaxPooling2D(2, 1, padding="same", name="max3")(L.AveragePooling2D(2, 1, padding="same", name="avg3")(x))
    x = L.Add(name="add")([y, z])
    g = L.GlobalMaxPooling2D(name="gmax")(x)
    return L.Concatenate(name="join2")([g, L.GlobalAveragePooling2D(name="gmean")(x)])


@network
def clipped(x):
    x = L.ReLU(max_value=1.0, name="r1")(L.Conv2D(8, 3, padding="same", name="one")(x))
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="two")(x)
    x = L.ReLU(max_value=4.0, name="r2")(L.BatchNormalization(name="bn")(x))
    return L.ReLU(max_value=2.0, name="r3")(L.Add(name="add")([x, L.Conv2D(8, 1, name="three")(x)]))


@network
def clipped_pixels(x):
    """Dense layers on pixels, whose values are moved in front of the activation, and clips behind it."""
    x = L.ReLU(max_value=4.0, name="r1")(L.Dense(8, use_bias=False, name="one")(x))
    return keras.ops.clip(L.Dense(8, bias_initializer="ones", name="two")(x), -1.0, 1.5)


@network
def leaky(x):
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="one")(x)
    return L.LeakyReLU(name="leak")(L.BatchNormalization(name="bn")(L.Conv2D(8, 3, use_bias=False, name="two")(x)))


@network
def two_norms(x):
    """Two batch norms behind one convolution."""
    x = L.Conv2D(8, 3, padding="same", name="one")(x)
    return L.Add(name="add")([relu_norm(x, "a"), relu_norm(x, "b")])


@network
def shared_layer(x):
    """A layer that is used twice: one pair of ranges for its weights."""
    twice = L.Conv2D(4, 3, padding="same", activation="relu", name="twice")
    x = twice(twice(x))
    dense = L.Dense(6, name="dense")
    a, b = L.GlobalAveragePooling2D(name="mean")(x), L.GlobalMaxPooling2D(name="max")(x)
    return L.Add(name="add")([dense(a), dense(b)])


@network
def frame_by_frame(x):
    """A layer that is called for each frame: the frames come first, then the images."""
    x = L.TimeDistributed(L.Dense(6, activation="relu"), name="frames")(L.Reshape((4, 64), name="parts")(x))
    return L.Dense(8, activation="relu", name="after")(x)


@network
def called_twice(x):
    """Two results of one layer on the same input, of which the converter makes one operation."""
    shared = L.Conv2D(4, 3, padding="same", name="shared")
    score = L.Activation("sigmoid", name="score")(shared(x))
    return keras.ops.stack([shared(x), score], axis=2)


@network
def gated(x):
    """Squeeze and excitation, as MobileNetV3 has it."""
    x = L.Conv2D(8, 3, activation="relu", name="one")(x)
    y = L.Reshape((1, 1, 8), name="pixel")(L.GlobalAveragePooling2D(name="squeeze")(x))
    y = L.Conv2D(8, 1, activation="hard_sigmoid", name="excite")(L.Conv2D(4, 1, activation="relu", name="less")(y))
    return L.Multiply(name="gate")([x, y])


@network
def upsampled(x):
    x = L.UpSampling2D(2, name="nearest")(L.Conv2D(8, 3, activation="relu", name="one")(x))
    return L.UpSampling2D(2, interpolation="bilinear", name="bilinear")(L.Conv2D(4, 3, strides=2, name="two")(x))


@network
def reduced(x):
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="one")(x)
    return L.Add(name="add")([keras.ops.mean(x, axis=1), keras.ops.max(x, axis=2)])


@network
def lstm(x):
    x = L.Reshape((4, 64), name="frames")(x)
    x = L.LSTM(6, unroll=True, return_sequences=True, name="first")(x)
    return L.Bidirectional(L.LSTM(6, unroll=True, name="lstm"), name="second")(x)


@network
def gru(x):
    x = L.Reshape((4, 64), name="frames")(x)
    x = L.SimpleRNN(6, unroll=True, return_sequences=True, name="simple")(x)
    x = L.GRU(6, unroll=True, return_sequences=True, go_backwards=True, name="first")(x)
    return L.GRU(6, unroll=True, reset_after=False, name="second")(x)


def synonyms(images, training):  # noqa: ARG001
    """Operations that the runtime computes as others, and those that compute nothing."""
    x = tf.square(-layer(images, "one"), name="square")
    x = layer(x, "two", activation="none") * -1.0 + 0.0
    x = tf.clip_by_value(layer(x * 1.0, "three", activation="none"), -1.0, 1.0)
    x = tf.maximum(layer(x, "four", activation="none"), 0.0)
    return tf.minimum(tf.nn.max_pool2d(x, 2, 2, "SAME"), 0.5)


def prelus(images, training):  # noqa: ARG001
    """PReLU in other spellings."""
    slope = variable("slope", [4])
    x = layer(images, "one", activation="none")
    x = tf.nn.relu(x) - slope * tf.nn.relu(x * -1.0)
    x = layer(x, "two", activation="none")
    return tf.maximum(x, 0.0) + variable("slopes", [1, 1, 4]) * tf.minimum(0.0, x)


NETWORKS |= {"synonyms": synonyms, "prelus": prelus}


def grouped(images, training):  # noqa: ARG001
    kernel = v1.get_variable("grouped/kernel", [3, 3, 2, 6], initializer=v1.random_normal_initializer(seed=1))
    bias = v1.get_variable("grouped/bias", [6], initializer=v1.random_normal_initializer(seed=2))
    x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(images, kernel, 1, "SAME", name="grouped/Conv2D"), bias))
    return tf.reduce_mean(x, [1, 2])


NETWORKS["grouped"] = grouped


def seeded(body):
    """Returns a network whose initial values are the same in every run: near-ties and rounding depend on them."""

    def drawn(images, training):
        v1.set_random_seed(1)
        return body(images, training)

    return drawn


NETWORKS = {name: seeded(body) for name, body in NETWORKS.items()}
