"""Reconstruction: the error of the real values, and anomalies by their error."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.outputs import Output
from qatbuild.exchange.scaling import Channels, RealInput, Scaling
from qatbuild.worker import tasks
from tests.hints import follows
from tests.tasks.running import BYTES, Column, check, classes, dataset, filled, loss, measure, results, task

RANDOM = np.random.default_rng(17)
FIELDS = {"task": "reconstruction"}

pytestmark = pytest.mark.tf


def test_the_loss_is_the_error_of_what_the_network_reads() -> None:
    values, real = (RANDOM.normal(size=(3, 4, 4, 1)).astype(np.float32) for _ in range(2))
    for name, wanted in (("mse", np.square(values - real).mean()), ("mae", np.abs(values - real).mean())):
        got, _ = loss(task("copy", {**FIELDS, "loss": name}), {"copy": values}, {}, {"images": real})
        assert got == pytest.approx(wanted, rel=1e-5)


def test_without_labels_rmse_gates_and_is_that_of_real_values() -> None:
    made = tasks.make("copy", Output.of(FIELDS), dataset(), {"images": Scaling(128, 64)})
    images = RANDOM.integers(0, 256, (20, 4, 4, 1)).astype(np.uint8)
    values = ((images.astype(np.float32) - 128) / 64) + 0.5
    assert measure(made, {"copy": values}, {"images": images}) == pytest.approx({"rmse": 0.5})
    assert [(metric.name, metric.better) for metric in made.metrics] == [("rmse", "lower")]


def test_the_target_has_the_networks_order_of_colours() -> None:
    arrays = dataset(images=Column("uint8", (1, 1, 3)))
    made = tasks.make("copy", Output.of(FIELDS), arrays, {"images": Scaling(0, 1, "bgr")})
    images = np.array([[[[1, 2, 3]]]], np.uint8)
    assert measure(made, {"copy": np.array([[[[3.0, 2, 1]]]], np.float32)}, {"images": images}) == {"rmse": 0}


def test_the_target_has_the_means_and_deviations_of_its_channels() -> None:
    arrays = dataset(images=Column("uint8", (1, 1, 2)))
    scaling = Scaling.by_channel(Channels((1.0, 2.0), (2.0, 4.0)))
    made = tasks.make("copy", Output.of(FIELDS), arrays, {"images": scaling})
    images = np.array([[[[5, 10]]]], np.uint8)
    assert measure(made, {"copy": np.array([[[[2.0, 2]]]], np.float32)}, {"images": images}) == {"rmse": 0}


def test_real_values_are_compared_as_they_are() -> None:
    arrays = dataset(sound=Column("float32", (3,)))
    made = tasks.make("copy", Output.of({**FIELDS, "target": "sound"}), arrays, {"sound": RealInput(), "images": BYTES})
    sound = RANDOM.normal(size=(9, 3)).astype(np.float32)
    assert measure(made, {"copy": sound + 2}, {"sound": sound}) == pytest.approx({"rmse": 2})


def test_with_labels_the_auc_of_the_mean_squared_error_gates() -> None:
    made = task("copy", FIELDS, labels=classes(2))
    images, labels = RANDOM.integers(0, 256, (50, 4, 4, 1)).astype(np.uint8), RANDOM.integers(0, 2, 50).astype(np.int32)
    values = images + RANDOM.normal(size=images.shape) * (1 + 0.2 * labels)[:, None, None, None]
    errors = np.square(values.astype(np.float32) - images).mean(axis=(1, 2, 3))
    got = measure(made, {"copy": values.astype(np.float32)}, {"images": images, "labels": labels})
    assert got["auc"] == pytest.approx(roc_auc_score(labels, errors))
    assert made.targets == ("images", "labels")
    assert made.metrics[0].name == "auc"


def test_normal_examples_alone_have_an_rmse_and_a_sentence_instead_of_the_auc() -> None:
    images, labels = np.zeros((5, 4, 4, 1), np.uint8), np.zeros(5, np.int32)
    meter = filled(task("copy", FIELDS, labels=classes(2)), {"copy": images}, {"images": images, "labels": labels})
    assert meter.values() == {"rmse": 0}
    assert meter.notes() == ("auc is left out: all examples have the label 0.",)


def test_labels_of_ten_classes_are_not_those_of_anomalies() -> None:
    assert task("copy", FIELDS, labels=classes(10)).targets == ("images",)


def test_labels_beyond_1_are_refused() -> None:
    with pytest.raises(StageError, match=r"value +2\n +wanted +0 \(normal\) or 1"):
        task("copy", FIELDS, labels=Column("int32", ())).check_values({"labels": np.array([0, 1, 2])})


def test_the_tensor_has_the_inputs_shape_and_is_the_result() -> None:
    made = task("copy", {**FIELDS, "range": [0, 1]})
    check(made, copy=[None, 4, 4, 1])
    assert made.sizes == {"copy": 1}
    assert results(made, {"copy": np.zeros((1, 4, 4, 1))})[1] == {"copy": "Net/Predictions/copy"}
    with pytest.raises(StageError, match=r"wanted +\[n, 4, 4, 1\]\n +got +\[n, 16\]"):
        check(made, copy=[None, 16])


def test_of_several_inputs_the_reconstructed_one_is_named() -> None:
    arrays, inputs = dataset(sound=Column("float32", (8,))), {"images": Scaling(0, 1), "sound": Scaling(0, 1)}
    with pytest.raises(StageError, match=r"there are +images, sound") as caught:
        tasks.make("copy", Output.of(FIELDS), arrays, inputs)
    assert follows("Name the input that is reconstructed as") in caught.value.hint
    made = tasks.make("copy", Output.of({**FIELDS, "target": "sound"}), arrays, inputs)
    assert made.targets == ("sound",)


def test_a_lone_input_takes_the_lone_array_whatever_its_name() -> None:
    made = tasks.make("copy", Output.of(FIELDS), dataset(labels=classes(2)), {"pixels": Scaling(0, 1)})
    assert made.targets == ("images", "labels")
