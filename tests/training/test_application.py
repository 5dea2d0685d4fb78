"""An application's columns, names of operations, losses by weight, and its metrics on validation examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.dataset_facts import Column
from qatbuild.exchange.networks import Called
from qatbuild.exchange.outputs import Output
from qatbuild.exchange.scaling import RealInput, Scaling
from qatbuild.worker import tasks
from qatbuild.worker.inputs import NetworkInput
from qatbuild.worker.models import layers
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.application import Application, op_name
from qatbuild.worker.training.graph import training
from qatbuild.worker.training.inference import inference
from qatbuild.worker.training.optimizer import Optimizer
from qatbuild.worker.training.session import session
from qatbuild.worker.training.validation import Validation
from tests.training.applications import examples, facts

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
COLUMNS = {
    "pixels": Column("uint8", (4, 4, 1)),
    "weather": Column("float32", (3,)),
    "kind": Column("int32", (), ("a", "b")),
    "height": Column("float32", ()),
}
INPUTS = {
    "image": NetworkInput("pixels", (4, 4, 1), Scaling(100, 50)),
    "weather": NetworkInput("weather", (3,), RealInput()),
}
RANDOM = np.random.default_rng(1)
ROWS: dict[str, Any] = {
    "pixels": RANDOM.integers(0, 256, (20, 4, 4, 1), np.uint8),
    "weather": RANDOM.normal(size=(20, 3)).astype(np.float32),
    "kind": (np.arange(20) % 2).astype(np.int32),
    "height": RANDOM.normal(size=20).astype(np.float32),
}


def network(inputs: Any, sizes: Any, *, training: bool) -> Any:  # noqa: ARG001
    """A dense head for each output; the weather alone is the height."""
    if not isinstance(inputs, dict):
        return layers.dense(inputs, sizes, scope="Net/height", activation=None)
    flat = layers.flatten(inputs["image"], scope="Net/flat")
    read = {"kind": flat, "height": inputs["weather"]}
    return {name: layers.dense(read[name], size, scope=f"Net/{name}", activation=None) for name, size in sizes.items()}


def application(weight: float = 0.25) -> Application:
    described = {"kind": Output("classification"), "height": Output("regression", "mse", weight)}
    scalings = {each.column: each.scaling for each in INPUTS.values()}
    made = {name: tasks.make(name, each, facts(COLUMNS), scalings) for name, each in described.items()}
    weights = {name: each.weight for name, each in described.items()}
    return Application(Called(f"{__name__}:network"), INPUTS, made, weights)


def test_a_lone_input_is_called_input_and_one_of_several_has_its_name() -> None:
    assert [op_name("image", count) for count in (1, 2)] == ["input", "input_image"]
    built = inference(application())
    assert built.inputs == {"image": "input_image", "weather": "input_weather"}
    assert built.tensors == {"kind": "Net/kind/BiasAdd", "height": "Net/height/BiasAdd"}
    assert built.outputs == {"kind": "Net/Predictions/Softmax", "height": "Net/Predictions/height"}
    assert {op.name for op in built.graph.get_operations() if op.type == "Placeholder"} == set(built.inputs.values())


def test_the_columns_are_those_of_inputs_and_tasks_each_once() -> None:
    target = application()
    assert target.columns == ("pixels", "weather", "kind", "height")
    assert target.targets == ("kind", "height")
    assert target.better == {
        "kind.top1": "higher",
        "height.mae": "lower",
        "height.rmse": "lower",
        "height.r2": "higher",
    }
    batch = target.batch(ROWS)
    assert batch.inputs.keys() == {"image", "weather"}
    assert batch.inputs["image"].dtype == np.uint8
    assert batch.targets.keys() == {"kind", "height"}
    feed = target.feed(ROWS)
    np.testing.assert_array_equal(feed["input_image:0"], (ROWS["pixels"] - np.float32(100)) / np.float32(50))
    np.testing.assert_array_equal(feed["input_weather:0"], ROWS["weather"])


def test_the_loss_is_the_sum_of_the_tasks_losses_by_their_weights() -> None:
    losses = {}
    for weight in (0.0, 0.25, 1.0):
        target = application(weight)
        graph = training(target, COLUMNS, Optimizer("sgd"), weight_decay=0.0, seed=1, rewrite=None)
        with graph.graph.as_default(), session(graph.graph, 1) as opened:
            opened.run(v1.global_variables_initializer())
            losses[weight] = opened.run(graph.loss, graph.feed(target.batch(ROWS), 0.1))
    assert losses[1.0] > losses[0.0] > 0
    assert losses[0.25] - losses[0.0] == pytest.approx(0.25 * (losses[1.0] - losses[0.0]), rel=1e-4)


def test_validation_measures_a_regression_over_all_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"weather": INPUTS["weather"]}
    task = tasks.make("height", Output("regression", "mse"), facts(COLUMNS), {"weather": RealInput()})
    target = Application(Called(f"{__name__}:network"), inputs, {"height": task}, {"height": 1.0})
    weights, bias = np.array([[1.0], [-2.0], [0.5]], np.float32), np.array([0.25], np.float32)
    named = {"Net/height/weights": weights, "Net/height/biases": bias}
    checkpoint.write(named, tmp_path / "model.ckpt-1")
    apart = (ROWS["weather"] @ weights + bias)[:, 0] - ROWS["height"]
    monkeypatch.setattr("qatbuild.worker.training.validation._BATCH", 7)
    validation = Validation(target, examples(**ROWS), None, 1)
    figures = validation.metrics(tmp_path / "model.ckpt-1")
    validation.close()
    assert list(figures) == ["mae", "rmse", "r2"]
    assert figures["mae"] == pytest.approx(np.abs(apart).mean(), rel=1e-5)
    assert figures["rmse"] == pytest.approx(np.sqrt(np.square(apart).mean()), rel=1e-5)
