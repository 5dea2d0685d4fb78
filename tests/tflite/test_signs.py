"""The signs of why a layer loses accuracy, measured on values whose signs are clear."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.layer_signs import LayerSigns
from qatbuild.worker.models import layers
from qatbuild.worker.tflite import inspect, signs
from qatbuild.worker.tflite.batch_norm_signs import BatchNormSigns
from qatbuild.worker.tflite.inspect import Tensor
from tests.tflite import nets

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
GRID = signs.Grid(0.0, 25.5, 0.1)


@pytest.mark.parametrize(("dtype", "zero_point"), [("uint8", 56), ("int8", -72)])
def test_a_grid_has_256_values_around_its_zero_point(dtype, zero_point):
    grid = signs.Grid.of(Tensor("values", dtype, (1,), (0.5,), (zero_point,)))
    assert grid == (-28.0, 99.5, 0.5)


def test_values_beyond_half_a_step_of_the_grid_are_clipped():
    spread = signs.Spread(GRID)
    spread.add(np.array([[0.0, 25.54], [-0.06, 30.0]]))
    assert spread.signs().clipped_percent == 50
    assert spread.signs().values == (-0.06, 30.0)


def test_what_is_cut_off_leaves_a_signal_to_noise_ratio_over_all_batches():
    spread = signs.Spread(GRID)
    spread.add(np.array([[3.0, 25.5]]))
    assert spread.signs().clipped_db is None
    spread.add(np.array([[0.0, 35.5]]))
    assert spread.signs().clipped_db == 12.8  # 10 log10((3**2 + 25.5**2 + 35.5**2) / 10**2)


def test_of_two_channels_the_narrower_one_is_the_median():
    spread = signs.Spread(GRID)
    spread.add(np.array([[1.0, 20.0]]))
    assert spread.signs().channel_percent == 5


def test_a_channel_counts_by_its_greatest_value_of_all_batches_unless_it_is_dead():
    spread = signs.Spread(GRID)
    spread.add(np.array([[[1.0, 100.0, 0.0, 2.0]]]))
    spread.add(np.array([[[-4.0, 50.0, 0.0, 1.0]]]))
    assert spread.signs().channel_percent == 4
    lone = signs.Spread(GRID)
    lone.add(np.ones((3, 1)))
    assert lone.signs().channel_percent is None


def test_a_layer_without_values_has_its_range_only():
    assert signs.Spread(GRID).signs() == LayerSigns((0.0, 25.5), 100.0)


def test_the_bulk_leaves_rare_values_at_the_ends_out():
    counts = np.zeros(256, np.int64)
    counts[100:116] = 1000
    assert signs.bulk_percent(counts) == 6.25
    counts[[0, 255]] = 5
    assert signs.bulk_percent(counts) == 6.25
    counts[255] = 20
    assert signs.bulk_percent(counts) == 60.94


@pytest.mark.parametrize("scheme", ["uint8", "int8", "int8_per_channel"])
def test_weights_with_a_scale_for_each_channel_use_it_whole(tmp_path, scheme):
    nets.build("mobile", scheme, tmp_path)
    model = inspect.read(tmp_path / "model.tflite")
    percents = [each for each in signs.weight_channel_percents(model).values() if each is not None]
    assert percents
    assert all(0 < each <= 100 for each in percents)
    assert (max(percents) > 99) == (scheme == "int8_per_channel")


def normalized(values, mean, variance):
    """The signs of a convolution's batch norm with these moving averages."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, 4, 4, 2], name="images")
        norm = layers.batch_norm(training=False)
        net = layers.conv(images, 2, 1, scope="conv", bias=None, norm=norm, weights=v1.constant_initializer(np.eye(2)))
        measured = BatchNormSigns(graph)
        session.run(v1.global_variables_initializer())
        moving = {each.op.name.rpartition("/")[2]: each for each in v1.global_variables()}
        moving["moving_mean"].load(np.full(2, mean, np.float32), session)
        moving["moving_variance"].load(np.full(2, variance, np.float32), session)
        for batch in np.split(values, 2):
            measured.add(dict(zip(measured.tensors, session.run(measured.tensors, {images: batch}), strict=True)))
        return measured.by_tensor({net.name})[net.name]


def test_moving_averages_that_fit_have_no_shift_and_others_theirs():
    values = np.random.default_rng(1).normal(3.0, 2.0, (64, 4, 4, 2)).astype(np.float32)
    fitting = normalized(values, 3.0, 4.0)
    assert fitting.mean_shift < 0.1
    assert fitting.variance_ratio < 1.2
    initial = normalized(values, 0.0, 1.0)
    assert initial.mean_shift == pytest.approx(1.5, abs=0.1)
    assert initial.variance_ratio == pytest.approx(4.0, abs=0.4)
