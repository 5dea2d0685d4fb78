"""Keras 3 models in a TF 1 graph of training: batch norms, dropout, frozen layers, initial weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize.batch_norm.fold import fold
from tests.graph.folding import foldable
from tests.models.keras_graphs import Built, call

pytestmark = pytest.mark.tf

v1 = tf.compat.v1


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        ("plain", (8, 8, 3)),
        pytest.param("mobilenet", (32, 32, 3), marks=pytest.mark.slow),
        pytest.param("resnet50", (32, 32, 3), marks=pytest.mark.slow),
    ],
)
def test_folded_it_learns_as_unfolded_and_its_moving_averages_move(function: str, shape: tuple[int, int, int]) -> None:
    images, labels = np.random.default_rng(1).random([8, *shape], np.float32), np.arange(8)
    results: list[list[np.ndarray]] = []
    for with_folding in (True, False)[: 2 if function == "plain" else 1]:
        built = Built(call(function), shape, training=True)
        with built.graph.as_default():
            norms = foldable(built.graph, training=True) if with_folding else []
            assert all(each.training for each in norms)
            for each in norms:
                fold(each)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, built.probabilities.op.inputs[0])
            )
            with tf.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS)):
                step = v1.train.GradientDescentOptimizer(0.01).minimize(loss, built.step)
        before = built.start()
        losses = [built.session.run([loss, step], {built.images: images})[0] for _ in range(2)]
        after = built.session.run(built.variables)
        assert all(np.any(before[name] != after[name]) for name in before if "moving_" in name or "kernel" in name)
        assert np.isfinite(losses).all()
        results.append([*losses, *(value for name, value in after.items() if "moving_" in name)])
    for folded, plain in zip(results[0], results[-1], strict=True):
        np.testing.assert_allclose(folded, plain, rtol=1e-3, atol=1e-4)


def test_after_the_freeze_each_layer_runs_one_convolution() -> None:
    built = Built(call("plain"), training=True)
    with built.graph.as_default():
        for each in foldable(built.graph, training=True):
            fold(each, freeze_delay_steps=2)
        loss = tf.reduce_mean(built.logits)
        updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
        with tf.control_dependencies(updates):
            step = v1.train.GradientDescentOptimizer(0.01).minimize(loss, built.step)
        counted = v1.global_variables()[-1]
    built.start()
    built.session.run(counted.initializer)
    images, ran = np.random.default_rng(1).random([8, 8, 8, 3], np.float32), []
    for _ in range(3):
        options, traced = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE), v1.RunMetadata()
        built.session.run([loss, step], {built.images: images}, options, traced)
        labels = [each.timeline_label for device in traced.step_stats.dev_stats for each in device.node_stats]
        kernels = [label.partition(" = ")[2].partition("(")[0] for label in labels]
        ran.append(sum("onv" in kernel and "Backprop" not in kernel for kernel in kernels))
    assert ran == [4, 2, 2]


def test_frozen_layers_do_not_change() -> None:
    built = Built(call("nested"), training=True)
    assert [name.rpartition("/")[2] for name in built.trainable] == ["kernel", "bias"] * 2
    assert not built.graph.get_collection(v1.GraphKeys.UPDATE_OPS)


def test_names_and_weights_do_not_depend_on_earlier_models() -> None:
    first = Built(call("plain")).start()
    keras.layers.Dense(3)
    np.random.default_rng().random()
    again = Built(call("plain")).start()
    assert {name: value.tobytes() for name, value in first.items()} == {
        name: value.tobytes() for name, value in again.items()
    }


def test_initial_weights_depend_on_the_seed_and_the_layers_name_alone() -> None:
    one, wider, other = (
        Built(call("plain", **options), seed=seed).start() for seed, options in ((1, {}), (1, {"width": 5}), (2, {}))
    )
    kernels = [name for name in one if name.endswith("kernel")]
    assert one["plain/dense_1/kernel"].tobytes() == wider["plain/dense_1/kernel"].tobytes()
    assert not any(np.array_equal(one[name], other[name]) for name in kernels)


def test_dropout_is_of_the_training_alone_and_depends_on_the_step_alone() -> None:
    built = Built(call("plain"), training=True)
    built.start()
    images = np.random.default_rng(1).random([4, 8, 8, 3], np.float32)
    run: Callable[[], np.ndarray] = lambda: built.session.run(built.logits, {built.images: images})  # noqa: E731
    first, again = run(), run()
    with built.graph.as_default():
        built.step.load(1, built.session)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != run())
    assert not any("seed" in name for name in built.variables)
    assert not any("andom" in each.type for each in Built(call("plain")).graph.get_operations() if "Initializer" not in
                   each.name)  # fmt: skip


def test_function_without_keras_is_built_once_and_keeps_its_random_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "numpynet.py").write_text(
        "import numpy as np, tensorflow as tf\n"
        "from qatbuild.worker.models import layers\n"
        "def network(images, classes, *, training):\n"
        "    drawn = np.random.random()\n"
        "    start = tf.compat.v1.constant_initializer(drawn)\n"
        "    return layers.dense(layers.flatten(images), classes, scope='only', activation=None, weights=start)\n"
    )
    np.random.seed(5)  # noqa: NPY002  as the training stage does
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    values = Built({"call": "numpynet:network"}).start()
    assert list(values) == ["only/weights", "only/biases"]
    assert values["only/weights"][0, 0] == pytest.approx(expected)
