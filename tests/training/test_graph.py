"""The training graph: the input of its loss, and the variables with weight decay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.networks import Shipped
from qatbuild.exchange.outputs import Output
from qatbuild.exchange.scaling import Scaling
from qatbuild.quantize import Options
from qatbuild.worker import tasks
from qatbuild.worker.training.graph import Training, training
from qatbuild.worker.training.optimizer import Optimizer
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.session import session
from tests.training.applications import batch, classifier, columns, facts, rewrite

pytestmark = pytest.mark.tf

NETWORK = classifier(Shipped("digitsnet"), (8, 8, 1), 10, Scaling(100.0, 50.0))
REWRITE = rewrite(Options(mean=100, std_dev=50, mode="tf1"))


def _graph(*, weight_decay: float = 0.0, asked: Rewrite | None = None, optimizer: str = "sgd") -> Training:
    dataset, by = columns((8, 8, 1), 10), Optimizer(optimizer)
    return training(NETWORK, dataset, by, weight_decay=weight_decay, seed=1, rewrite=asked)


def _ancestors(tensor: tf.Tensor) -> set[str]:
    seen: set[str] = set()
    waiting = [tensor.op]
    while waiting:
        operation = waiting.pop()
        if operation.name not in seen:
            seen.add(operation.name)
            waiting.extend(source.op for source in operation.inputs)
    return seen


def test_loss_is_of_the_fake_quantized_network_up_to_its_logits() -> None:
    target = _graph(asked=REWRITE)
    fake_quants = {op.name for op in target.graph.get_operations() if op.type == "FakeQuantWithMinMaxVars"}
    assert len(fake_quants) == 10
    assert fake_quants <= _ancestors(target.loss)


def test_every_weight_has_a_gradient_through_the_fake_quantization() -> None:
    target = _graph(asked=REWRITE)
    with target.graph.as_default():
        gradients = tf.gradients(target.loss, [variable for variable in target.model if "weights" in variable.op.name])
    assert all(gradient is not None for gradient in gradients)


def test_without_labels_nothing_is_trained() -> None:
    dataset, scalings = facts(columns((8, 8, 1), 10)), {"images": Scaling(100.0, 50.0)}
    task = tasks.make("labels", Output(), dataset, scalings, labelled=False)
    task.sizes = {"labels": 10}  # which a pretrained network knows
    unlabelled = replace(NETWORK, tasks={"labels": task})
    target = training(unlabelled, dataset.columns, Optimizer("sgd"), weight_decay=0.0, seed=1, rewrite=None)
    assert not target.trains
    assert target.targets == {}
    with target.graph.as_default(), session(target.graph, 2) as opened:
        assert opened.run(target.loss) == 0


def test_float_training_has_no_trace_of_fake_quantization() -> None:
    target = _graph()
    assert not target.ranges
    assert not [op for op in target.graph.get_operations() if "FakeQuant" in op.type]


@pytest.mark.parametrize("asked", [None, REWRITE])
def test_weight_decay_adds_half_the_square_of_float_kernels_and_of_nothing_else(asked: Rewrite | None) -> None:
    images, labels = np.arange(128, dtype=np.uint8).reshape(2, 8, 8, 1), np.array([3, 5], np.int32)
    losses, kernels = [], {}
    for weight_decay in (0.0, 0.1):
        target = _graph(weight_decay=weight_decay, asked=asked)
        with target.graph.as_default(), session(target.graph, 2) as opened:
            opened.run(tf.compat.v1.global_variables_initializer())
            kernels = opened.run({variable.op.name: variable for variable in target.model})
            losses.append(opened.run(target.loss, target.feed(batch(images, labels), 0.1)))
    decayed = sum((value**2).sum() / 2 for name, value in kernels.items() if "weights" in name)
    assert losses[1] - losses[0] == pytest.approx(0.1 * decayed, rel=1e-4)


def test_network_gets_bytes_less_mean_over_std_dev() -> None:
    target = _graph()
    real = target.graph.get_operation_by_name("DigitsNet/conv1/Conv2D").inputs[0]
    images = np.array([0, 100, 150, 255], np.uint8).repeat(16).reshape(1, 8, 8, 1)
    with session(target.graph, 2) as opened:
        assert set(np.unique(opened.run(real, {target.inputs["images"]: images}))) == {-2.0, 0.0, 1.0, np.float32(3.1)}


def test_unknown_optimizer_lists_the_known_ones() -> None:
    with pytest.raises(StageError) as refused:
        _graph(optimizer="lamb")
    assert dict(refused.value.facts)["there are"] == "sgd, momentum, adam"


@pytest.mark.parametrize(
    ("optimizer", "updates"), [("sgd", "ResourceApplyGradientDescent"), ("momentum", "ResourceApplyMomentum"),
                               ("adam", "ResourceApplyAdam")]
)  # fmt: skip
def test_optimizer_is_the_one_named_and_updates_every_variable(optimizer: str, updates: str) -> None:
    target = _graph(optimizer=optimizer)
    kinds = [op.type for op in target.graph.get_operations()]
    assert kinds.count(updates) == len(target.model)
