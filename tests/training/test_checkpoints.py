"""Checkpoints are TensorFlow's own files, byte for byte, without its operations for each variable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.worker.training import checkpoint

v1 = tf.compat.v1


@pytest.fixture
def opened():
    with tf.Graph().as_default(), v1.Session() as session:
        yield session


def _variables(session):
    """Variables of both kinds, not in the order of their names; two begin with one tensor."""
    same = tf.zeros([2, 3])
    made = [
        v1.get_variable("net/z", initializer=tf.constant([1.5, -2.5]), use_resource=True),
        v1.get_variable("net/one", initializer=same, use_resource=True),
        v1.get_variable("net/other", initializer=same, use_resource=True),
        v1.get_variable("net/older", initializer=tf.constant(7, tf.int64), use_resource=False),
    ]
    session.run(v1.global_variables_initializer())
    return made


def test_a_checkpoint_has_the_bytes_of_tensorflow_s_saver(opened, tmp_path):
    variables = _variables(opened)
    checkpoint.Saver({each.op.name: each for each in variables}).save(opened, tmp_path / "ours")
    v1.train.Saver(variables).save(opened, str(tmp_path / "theirs"), write_meta_graph=False, write_state=False)
    ours, theirs = (checkpoint.files(tmp_path / name) for name in ("ours", "theirs"))
    assert [each.read_bytes() for each in ours] == [each.read_bytes() for each in theirs]


def test_a_saver_reads_each_variable_by_the_operation_that_it_already_has(opened):
    variables = _variables(opened)
    before = opened.graph.get_operations()
    checkpoint.Saver({each.op.name: each for each in variables})
    added = opened.graph.get_operations()[len(before) :]
    assert sorted(each.type for each in added) == ["Const", "Const", "Placeholder", "SaveV2"]


@pytest.mark.parametrize("part_bytes", [0, 1 << 26])
def test_each_variable_gets_its_own_value_without_another_operation(opened, tmp_path, monkeypatch, part_bytes):
    monkeypatch.setattr(checkpoint, "_PART_BYTES", part_bytes)
    variables = _variables(opened)
    values: dict[str, np.ndarray[Any, Any]] = {
        "net/z": np.array([3, 4], np.float32),
        "net/one": np.ones([2, 3], np.float32),
        "net/other": np.full([2, 3], 2, np.float32),
        "net/older": np.array(9, np.int64),
    }
    checkpoint.write(values, tmp_path / "kept")
    count = len(opened.graph.get_operations())
    checkpoint.restore(opened, variables, tmp_path / "kept")
    assert len(opened.graph.get_operations()) == count
    for each in variables:
        np.testing.assert_array_equal(each.eval(opened), values[each.op.name])


def test_a_checkpoint_that_cannot_be_written_is_named(opened, tmp_path):
    (tmp_path / "taken.index").mkdir()
    saver = checkpoint.Saver({each.op.name: each for each in _variables(opened)})
    with pytest.raises(StageError, match="cannot be written") as raised:
        saver.save(opened, tmp_path / "taken")
    assert str(tmp_path / "taken") in raised.value.block()
