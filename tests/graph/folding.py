"""A trainable network of two layers with batch norms: its outputs, gradients, moving averages and kernels."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable, find_batch_norms
from tests.graph.networks import FUSED, folding_layer, images, v1

FORMS = [*FUSED, "unfused", "shifted"]
STEPS = 5
ROWS = [
    *(("conv", form, {}) for form in FORMS),
    *((kind, form, {}) for kind in ("depthwise", "dense") for form in ("FusedBatchNormV3", "unfused", "keepdims")),
    ("conv", "keepdims", {"update": "blend"}),
    ("transposed", "unfused", {}),
    *(
        ("conv", form, columns)
        for form in ("FusedBatchNormV3", "unfused")
        for columns in ({"variables": "ref"}, {"update": "blend"}, {"activation": "identity", "forced": True})
    ),
]
BIASED = [(kind, form, bias) for kind in ("conv", "depthwise", "dense", "transposed") for form in
          ("FusedBatchNormV3", "unfused", "keepdims") for bias in ("bias_add", "addv2")]  # fmt: skip


class Network:
    """Two layers with batch norm and a loss; `rewrite` None leaves them float."""

    def __init__(self, rewrite=None, kind="conv", **columns):
        self.graph = tf.Graph()
        self.shape = (8, 12) if kind in ("dense", "transposed") else (4, 6, 6, 3)
        with self.graph.as_default():
            value = folding_layer(images(self.shape), "first", kind, **columns)
            value = folding_layer(value, "second", kind, **columns)
            self.output = tf.negative(value, name="probe")
            self.loss = tf.reduce_sum(tf.sin(3 * self.output))
            if rewrite:
                self.report = rewrite(self.graph)
            self.trained = v1.trainable_variables()
            wanted = [self.graph.get_tensor_by_name("input:0"), *self.trained]
            self.gradients = tf.gradients(self.loss, wanted, unconnected_gradients="zero")
            self.updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
            self.averages = {each.op.name: each for each in v1.global_variables() if "/moving_" in each.op.name}
            self.session = v1.Session()
            self.session.run(v1.global_variables_initializer())

    def step(self, batch):
        """Output and gradients of one step, the moving averages updated with it."""
        output, gradients, _ = self.session.run([self.output, self.gradients, self.updates], {"input:0": batch})
        return output, gradients

    def moving_averages(self):
        return self.session.run(self.averages)

    def assign(self, values):
        with self.graph.as_default():
            for name, value in values.items():
                self.averages[name].load(value, self.session)


def batches(network, count=STEPS):
    random = np.random.default_rng(5)
    return [2 * random.normal(size=network.shape).astype(np.float32) + 1 for _ in range(count)]


def assert_close(actual, expected, tolerance=1e-4):
    for mine, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance * max(1, np.abs(other).max()))


def start_biases_at(network, value):
    with network.graph.as_default():
        for each in v1.trainable_variables():
            if each.op.name.endswith("biases"):
                each.load(np.full(each.shape, value, np.float32), network.session)


def convolutions_run(network, batch):
    """The convolution kernels of one step, of the layers' outputs and of their gradients."""
    options, ran = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE), v1.RunMetadata()
    fetches = [network.output, network.gradients, network.updates]
    network.session.run(fetches, {"input:0": batch}, options, ran)
    kernels = [
        _plain(kernel.timeline_label.partition(" = ")[2].partition("(")[0])
        for device in ran.step_stats.dev_stats
        for kernel in device.node_stats
    ]
    kinds = ("Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput")
    return [kernels.count(kind) for kind in kinds]


def _plain(kernel):
    """The kind of a kernel that TensorFlow's own optimizer may have fused with a bias."""
    return kernel.removeprefix("_MklNative").removeprefix("_").removeprefix("Fused").removesuffix("WithBias")


def foldable(graph, *, training):
    """The batch norms of a graph, all of which can be folded."""
    norms = find_batch_norms(graph, training=training, as_tf1=False)
    assert [each for each in norms if isinstance(each, Unfoldable)] == []
    return [each for each in norms if isinstance(each, BatchNorm)]
