"""Names of the operations that tasks add behind a network's tensors."""

from __future__ import annotations

import pytest
import tensorflow as tf

from qatbuild.worker.tasks import ends

pytestmark = pytest.mark.tf


def name(function, *arguments, tensor="Net/fc"):
    with tf.Graph().as_default():
        return function(tf.zeros([2, 3], name=tensor), *arguments).op.name


@pytest.mark.parametrize(
    ("function", "kind"), [(ends.softmax, "Softmax"), (ends.sigmoid, "Sigmoid"), (ends.classes, "Classes")]
)
def test_results_are_named_after_the_networks_scope_and_what_they_are(function, kind):
    assert name(function) == f"Net/Predictions/{kind}"
    assert name(function, tensor="fc") == f"Predictions/{kind}"


def test_an_unchanged_tensor_is_named_as_in_its_task():
    assert name(ends.identity, "boxes/scores") == "Net/Predictions/boxes/scores"
    assert name(ends.identity, "my box (1)") == "Net/Predictions/my_box__1_"


def test_a_result_is_an_operation_of_its_own_also_within_a_scope():
    with tf.Graph().as_default(), tf.name_scope("training"):
        tensor = tf.zeros([2, 3], name="fc")
        first, second = ends.softmax(tensor), ends.softmax(tensor)
    assert first.op.name == "training/Predictions/Softmax"
    assert second.op.name == "training/Predictions/Softmax_1"
