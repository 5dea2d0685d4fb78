"""details.json: what the stage evaluate leaves for a page beside the report."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from qatbuild.worker.tflite.interpret import Model
from tests.tflite.running import run
from tests.tflite.stage_folder import Build

pytestmark = pytest.mark.tf


@pytest.fixture
def build(tmp_path, network, images):
    return Build(tmp_path, network, images)


def test_details_have_confusions_graph_and_histograms_and_equal_bytes_each_time(build):
    build.freeze()
    build.convert()
    answers = np.argmax(run(Model(build.folder / "convert" / "model.tflite"), build.images), axis=1)
    labels = answers.copy()
    wrong = np.flatnonzero(answers == answers[0])[:5]
    labels[wrong] = (answers[0] + 1) % 4
    build.dataset(labels)
    refused = build.evaluate(min_top1=100.0)
    assert refused.error is not None
    details = refused.details

    assert details["confusion"]["output"] == "labels"
    assert details["confusion"]["labels"] == ["a", "b", "c", "d"]
    assert details["confusion"]["counts"] == confusion_matrix(labels, answers, labels=range(4)).tolist()
    (confused,) = details["confusions"]
    assert (confused["actual"], confused["predicted"], confused["count"]) == (labels[wrong[0]], answers[0], 5)
    for text, index in zip(confused["examples"], wrong[:4], strict=True):
        with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
            assert np.array_equal(np.asarray(picture), build.images[index, ..., 0])

    layers = details["layers"]
    rows = {row["position"]: row for row in refused.report["layers"]}
    assert [layer["position"] for layer in layers.values()] == sorted(rows)
    assert [rows[layer["position"]]["name"] for layer in layers.values()] == [name.partition(":")[0] for name in layers]
    names = [*layers]
    assert [layer["inputs"] for layer in layers.values()] == [["images"], *([name] for name in names[:-1])]
    weighted = [layer["operator"] for layer in layers.values() if "weights" in layer]
    assert weighted == ["CONV_2D", "CONV_2D", "FULLY_CONNECTED"]
    assert all("activations" in layer for layer in layers.values())
    softmax = layers[names[-1]]["activations"]
    assert (softmax["scale"], softmax["zero_point"], softmax["bits"]) == (1 / 256, 0, 8)

    again = build.evaluate()
    assert again.error is None
    assert again.details_text == refused.details_text
