"""A new task is one new file, and a task that does not exist is named with those that do."""

from __future__ import annotations

import numpy as np
import pytest

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.outputs import Output
from qatbuild.worker import tasks
from tests.tasks.running import BYTES, Column, dataset, loss, measure, task

SIGN = """
import tensorflow as tf
from qatbuild.worker.tasks import Meter, Metric, Task, columns, ends

def task(name, output, dataset, inputs, *, labelled):
    target, column = columns.target(name, output, dataset, inputs)
    return Sign(name, (Metric("right", percent=True),), (target,), {name: 1})

class Sign(Task):
    def check(self, tensors):
        ends.check(self.name, "sign", self.name, tensors, [[1]])

    def check_values(self, targets, first=0):
        pass

    def loss(self, tensors, targets, inputs):
        return tf.reduce_mean(tf.nn.softplus(-tensors[self.name] * targets[self.targets[0]][:, None]))

    def results(self, tensors):
        return {self.name: ends.identity(tensors[self.name], self.name)}

    def meter(self):
        return Signs(self.name)

class Signs(Meter):
    def __init__(self, name):
        self.name, self.right, self.count = name, 0, 0

    def add(self, results, targets):
        self.right += int((results[self.name][:, 0] * targets["up"] > 0).sum())
        self.count += len(targets["up"])

    def measured(self):
        return {"right": 100 * self.right / self.count}
"""

pytestmark = pytest.mark.tf


def test_a_new_task_is_one_new_file(tmp_path, monkeypatch) -> None:
    (tmp_path / "sign.py").write_text(SIGN)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    made = task("up", {"task": "sign"}, up=Column("float32", ()))
    values, targets = np.array([[2.0], [-1], [3]], np.float32), np.array([1, 1, 1], np.float32)
    assert loss(made, {"up": values}, {"up": targets})[0] == pytest.approx(np.log1p(np.exp(-values)).mean())
    assert measure(made, {"up": values}, {"up": targets}) == pytest.approx({"right": 200 / 3})


def test_a_task_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(StageError, match=r"there are +.*classification, .*multilabel, .*regression"):
        task("labels", {"task": "clasification"}, labels=Column("int32", ()))


@pytest.mark.parametrize(
    "name", [name for name in tasks.names() if name not in {"call", "detection", "reconstruction"}]
)
def test_without_labels_a_task_reads_nothing_and_measures_nothing(name) -> None:
    made = tasks.make("y", Output.of({"task": name}), dataset(), {"images": BYTES}, labelled=False)
    assert (made.targets, made.metrics) == ((), ())
    assert made.meter().values() == {}
