"""What an edit of the user's data and functions builds again, by real doit; and inputs by channel and frozen graphs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.e2e.conftest import Project
from tests.e2e.test_stories import ran

pytestmark = pytest.mark.slow

FUNCTIONS = {
    "rows": """
import numpy as np

def rows():
    features = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    total = features.sum(axis=1, keepdims=True)
    return {"train_features": features[:160], "test_features": features[160:],
            "train_total": total[:160], "test_total": total[160:]}
""",
    "own_network": """
from qatbuild.worker.models import layers

def network(features, values, *, training):
    return layers.dense(features, 1, scope="total", activation=None)
""",
    "own_loss": """
import tensorflow as tf

def squares(predictions, targets):
    return tf.reduce_mean(tf.square(predictions - targets))
""",
    "own_metric": """
import numpy as np

def error(predictions, targets):
    return float(np.abs(predictions - targets).mean())
""",
}
SHORT = {"steps": 30, "batch_size": 16, "learning_rate": {"initial": 0.01}}
TRAINED = ["check", "float", "quantize", "export", "evaluate"]


def planned(project: Project) -> list[str]:
    """The stages that the next build runs for sure, whatever those before them leave."""
    lines = project.build("plan").splitlines()
    return [line.split(":")[1] for line in lines if line.startswith("run ")]


def test_an_edit_of_a_called_function_is_seen_by_the_stages_that_call_it(project: Project) -> None:
    for name, text in FUNCTIONS.items():
        (project.root / f"{name}.py").write_text(text)
    metrics = {"error": {"call": "own_metric:error", "better": "lower"}}
    project.spec(
        "own",
        dataset={"name": "call", "call": "rows:rows"},
        input=None,
        inputs={"features": {"real": True}},
        outputs={"total": {"task": "call", "loss": "own_loss:squares", "metrics": metrics}},
        model={"call": "own_network:network"},
        train=SHORT,
        evaluate={"gates": {"error": {"max_drop": 100}}, "latency_runs": 1},
    )
    project.build("own")
    # A metric chooses the best checkpoint, so that a training depends on it as on the loss.
    for name in ("own_loss", "own_metric"):
        (project.root / f"{name}.py").write_text(FUNCTIONS[name] + "\nEDITED = True\n")
        assert planned(project) == TRAINED, name
        (project.root / f"{name}.py").write_text(FUNCTIONS[name])
    (project.root / "rows.py").write_text(FUNCTIONS["rows"] + "\nEDITED = True\n")
    assert ran(project.build("own")) == ["dataset"]  # It left the same bytes.


KERAS = """
import keras
from keras import layers

def network(images, classes, *, training):
    source = keras.Input(images.shape[1:], name="images")
    net = layers.Conv2D(8, 3, 2, activation="relu", name="conv")(source)
    net = layers.GlobalAveragePooling2D(name="pool")(net)
    return keras.Model(source, layers.Dense(classes, name="logits")(net))
"""


def test_pictures_with_means_by_channel_are_deployed_and_an_added_one_is_noticed(project: Project) -> None:
    (project.root / "own_network.py").write_text(KERAS)
    data, random = project.root / "specs/data", np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 20)):
        for number in range(count):
            label, channel = (("red", 0), ("blue", 2))[number % 2]
            picture = random.integers(0, 120, (12, 12, 3))
            picture[..., channel] += 130
            (data / split / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.astype(np.uint8)).save(data / split / label / f"{number}.png")
    project.spec(
        "net",
        dataset={"name": "images", "path": "data"},
        input={"mean": [123.675, 116.28, 103.53], "std_dev": [58.395, 57.12, 57.375]},
        model={"call": "own_network:network"},
        train=SHORT,
        quantize={"method": "ptq", "scheme": "int8_per_channel"},
        deploy={"c_array": {}, "litert": {}},
    )
    project.build("net")
    report = project.report("net")
    assert report["input"]["scale"] == 1
    assert report["input"]["zero_point"] == -128
    assert report["agreement"]["max_lsb"] <= 1
    for route in ("c_array", "litert"):
        verdict = json.loads((project.root / f"build/net/deploy/{route}/route.json").read_text())
        assert verdict["comparison"]["max_lsb"] == 0
    (data / "train/red/.thumbnail").touch()
    assert ran(project.build("net")) == ["dataset"]  # Hidden files are no pictures: the same bytes.
    (data / "test/red/more.png").write_bytes((data / "test/red/0.png").read_bytes())
    assert planned(project) == ["dataset"]
    assert {"dataset", "evaluate"} <= {*(again := ran(project.build("net")))}
    assert not {"freeze", "convert"} & {*again}  # The training's pictures are the same, and so its checkpoints.


def test_a_frozen_graph_becomes_a_model_without_training_and_labels(project: Project) -> None:
    random = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 1], name="image")
        kernel = tf.constant(random.normal(0, 0.4, (3, 3, 1, 8)), tf.float32)
        net = tf.nn.relu(tf.nn.conv2d(images, kernel, 2, "SAME") + tf.constant(0.1, shape=[8]))
        weights = tf.constant(random.normal(0, 0.1, (128, 10)), tf.float32)
        tf.matmul(tf.reshape(net, [-1, 128]), weights, name="logits")
    (project.root / "specs/net.pb").write_bytes(graph.as_graph_def().SerializeToString())
    project.spec(
        "net",
        dataset={"labels": False},
        model={"graph_def": "net.pb"},
        train=None,
        quantize={"method": "ptq"},
        evaluate={"min_agreement": 95, "latency_runs": 1},
    )
    project.build("net")
    assert project.report("net")["metrics"]["agreement"]["tflite"] >= 95
