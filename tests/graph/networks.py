"""Small networks in TF 1 style, and the FakeQuants of their rewritten graphs."""

from __future__ import annotations

import tensorflow as tf

v1 = tf.compat.v1

ACTIVATIONS = {"relu": tf.nn.relu, "relu6": tf.nn.relu6, "identity": tf.identity, "tanh": tf.nn.tanh}


def images(shape=(2, 6, 6, 3)):
    return v1.placeholder(tf.float32, shape, name="input")


def layer(value, name, kind="conv", bias="bias_add", activation="relu", variables="resource", channels=4):  # noqa: PLR0917
    """A layer in the name scope `name`; its operations are Conv2D, depthwise or MatMul, BiasAdd or add, Relu ..."""
    inputs = int(value.shape[-1])
    shape = {"conv": [3, 3, inputs, channels], "depthwise": [3, 3, inputs, 1], "dense": [inputs, channels],
             "transposed": [channels, inputs]}[kind]  # fmt: skip
    with v1.variable_scope(name):
        weights = variable("weights", shape, variables)
        if kind == "conv":
            value = tf.nn.conv2d(value, weights, 1, "SAME", name="Conv2D")
        elif kind == "depthwise":
            value = tf.nn.depthwise_conv2d(value, weights, [1, 1, 1, 1], "SAME", name="depthwise")
        else:
            value = tf.matmul(value, weights, transpose_b=kind == "transposed", name="MatMul")
        if bias != "none":
            biases = variable("biases", [int(value.shape[-1])], variables)
            add = {"bias_add": tf.nn.bias_add, "add": v1.add, "addv2": tf.add}[bias]
            value = add(value, biases, name="biased")
        return value if activation == "none" else ACTIVATIONS[activation](value, name="activation")


def variable(name, shape, variables="resource"):
    start = v1.random_normal_initializer(stddev=0.3, seed=len(name))
    return v1.get_variable(name, shape, initializer=start, use_resource=variables == "resource")


def fake_quants(graph):
    """FakeQuants by name scope: (their input tensor, the operations that read their output, behind a delay's Merge)."""
    by_scope = {}
    for operation in graph.get_operations():
        if operation.type == "FakeQuantWithMinMaxVars":
            prefix = operation.name.rpartition("/")[0]
            output = operation.outputs[0]
            for switch in output.consumers():
                if switch.type == "Switch" and switch.name.startswith(f"{prefix}/"):
                    output = switch.outputs[1].consumers()[0].outputs[0]
            by_scope[prefix] = (operation.inputs[0].name, sorted(each.name for each in output.consumers()))
    return by_scope


FUSED = {
    "FusedBatchNorm": tf.raw_ops.FusedBatchNorm,
    "FusedBatchNormV2": tf.raw_ops.FusedBatchNormV2,
    "FusedBatchNormV3": tf.raw_ops.FusedBatchNormV3,
}
EPSILON, DECAY = 1e-3, 0.9


def batch_norm(value, form="FusedBatchNormV3", training=True, variables="resource", update="subtract", **parts):
    """A batch norm in the name scope BatchNorm, as slim builds it; `form` a fused operation, "unfused" or "shifted".

    "shifted" has no gamma, "keepdims" statistics with as many dimensions as the value. `update` None keeps no moving
    averages; `parts`: `forced` lets the result wait for them (else they are in UPDATE_OPS), `identity` puts one in
    front.
    """
    channels = [int(value.shape[-1])]
    with v1.variable_scope("BatchNorm"):
        gamma, beta, mean, variance = (
            v1.get_variable(name, channels, None, start, trainable=trained, use_resource=variables == "resource")
            for name, start, trained in [
                ("gamma", v1.random_uniform_initializer(0.5, 2, seed=1), form != "shifted"),
                ("beta", v1.random_normal_initializer(seed=2), True),
                ("moving_mean", v1.random_normal_initializer(seed=3), False),
                ("moving_variance", v1.random_uniform_initializer(0.5, 2, seed=4), False),
            ]
        )
        if parts.get("identity"):
            value = tf.identity(value)
        if form in FUSED:
            output, statistics = _fused(value, form, gamma, beta, mean, variance, training=training)
        else:
            statistics = tf.nn.moments(value, list(range(value.shape.rank - 1)), keepdims=form == "keepdims")
            used = statistics if training else (mean, variance)
            output = tf.nn.batch_normalization(value, *used, beta, None if form == "shifted" else gamma, EPSILON)
        dense_shape = tf.shape(value) if form in FUSED and value.shape.rank == 2 else None
        if not training or not update:
            return output if dense_shape is None else tf.reshape(output, dense_shape)
        updates = [
            _update(moving, tf.reshape(statistic, channels) if form == "keepdims" else statistic, update)
            for moving, statistic in zip((mean, variance), statistics, strict=True)
        ]
        if not parts.get("forced"):
            v1.get_default_graph().get_collection_ref(v1.GraphKeys.UPDATE_OPS).extend(updates)
        else:
            with tf.control_dependencies(updates):
                output = tf.identity(output)
        return output if dense_shape is None else tf.reshape(output, dense_shape)


def _fused(value, form, gamma, beta, mean, variance, *, training):  # noqa: PLR0917
    four = tf.reshape(value, [-1, 1, 1, int(value.shape[-1])]) if value.shape.rank == 2 else value
    moving = {"mean": [], "variance": []} if training else {"mean": mean, "variance": variance}
    output, *statistics = FUSED[form](
        x=four, scale=gamma, offset=beta, **moving, epsilon=EPSILON, is_training=training
    )[:3]  # fmt: skip
    return output, statistics


def _update(moving, statistic, form):
    if form == "subtract":
        return v1.assign_sub(moving, (moving - statistic) * (1 - DECAY))
    if form == "zero_debias":
        biased = variable("biased" + moving.op.name.rpartition("/")[2], moving.shape)
        with tf.control_dependencies([_update(biased, statistic, "subtract")]):
            return v1.assign_sub(moving, moving - biased / (1 - DECAY))
    return v1.assign(moving, moving * DECAY + statistic * (1 - DECAY))


def folding_layer(value, name, kind="conv", activation="relu", channels=4, bias="none", **form):  # noqa: PLR0917
    """A layer, as a rule without bias, its batch norm, its activation."""
    value = layer(value, name, kind, bias=bias, activation="none", channels=channels)
    with v1.variable_scope(name, auxiliary_name_scope=False), v1.name_scope(f"{value.op.name.rpartition('/')[0]}/"):
        value = batch_norm(value, **form)
        return value if activation == "none" else ACTIVATIONS[activation](value, name="activation")
