"""Means and deviations by channel through the stages: what they compute, report and refuse, and that a hint works."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError, StageError
from qatbuild.exchange.facts import ConvertFacts
from qatbuild.worker import graph_def, graph_outputs
from qatbuild.worker.stages import check, evaluate, learning
from qatbuild.worker.training.session import session
from tests.hints import follows
from tests.training import chain
from tests.training.project import DIGITS, RATE, Project

pytestmark = pytest.mark.tf

IMAGENET: dict[str, Any] = {"mean": [123.675, 116.28, 103.53], "std_dev": [58.395, 57.12, 57.375], "order": "rgb"}
CAFFE: dict[str, Any] = {"mean": [103.939, 116.779, 123.68], "std_dev": 1.0, "order": "bgr"}
ONE_MEAN: dict[str, Any] = {"mean": [127.5, 127.5, 128.0], "std_dev": [64.0, 50.0, 72.0], "order": "rgb"}
PICTURES = np.random.default_rng(5).integers(0, 256, (24, 8, 8, 3), np.uint8)
QAT = {**chain.QAT, "learning_rate": {**RATE, "initial": 1e-4}}


def network(
    images: tf.Tensor, classes: int, *, training: bool, padding: str = "valid", scale: Mapping[str, Any] | None = None
) -> keras.Model:
    """A convolution with batch norm and ReLU, and a dense layer; at the beginning a Normalization with `scale`."""
    del training
    x = pictures = keras.Input(images.shape[1:])
    x = keras.layers.Normalization(**scale)(x) if scale else x
    x = keras.layers.Conv2D(6, 3, padding=padding, use_bias=padding == "same", name="conv")(x)
    x = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(x))
    return keras.Model(pictures, keras.layers.Dense(classes, name="logits")(keras.layers.Flatten(name="flat")(x)))


def made(root: Path, scaling: Mapping[str, Any], options: Mapping[str, Any], **quantize: Any) -> Project:
    """A project with random pictures, checked."""
    project = chain.project(root, (8, 8, 3), {"call": f"{__name__}:network", "options": dict(options)})
    labels = (np.arange(24) % 10).astype(np.int32)
    parts = {"train": slice(0, 16), "validation": slice(0, 0), "test": slice(None)}
    splits = {name: {"images": PICTURES[part], "labels": labels[part]} for name, part in parts.items()}
    project.dataset(splits, {"labels": DIGITS})
    project.settings["inputs"] = {"images": dict(scaling)}
    limits: dict[str, Any] = {
        "max_accuracy_drop": 100.0,
        "min_top1": None,
        "min_agreement": None,
        "latency_runs": 1,
        "gates": {},
    }
    project.settings |= {"label": "channels", "evaluate": limits}
    chain.check_network(project, **quantize)
    return project


def formula(scaling: Mapping[str, Any]) -> np.ndarray:
    """What the spec says: (byte - mean) / std_dev, in the network's order of channels."""
    pictures = PICTURES[..., :: 1 if scaling["order"] == "rgb" else -1].astype(np.float64)
    reals: np.ndarray = ((pictures - scaling["mean"]) / scaling["std_dev"]).astype(np.float32)
    return reals


@pytest.mark.parametrize(
    ("scaling", "padding", "scheme", "method", "zero_point"),
    [
        (IMAGENET, "valid", "int8_per_channel", chain.PTQ, -128),
        (ONE_MEAN, "same", "uint8", QAT, 128),
        (CAFFE, "valid", "uint8", chain.PTQ, 0),
    ],
    ids=["imagenet", "one mean", "caffe"],
)
def test_graphs_and_file_compute_the_formula_of_the_spec_without_an_operator_for_it(  # noqa: PLR0917
    scaling: dict[str, Any], padding: str, scheme: str, method: dict[str, Any], zero_point: int, tmp_path: Path
) -> None:
    project = made(tmp_path, scaling, {"padding": padding}, scheme=scheme, **method)
    converted = ConvertFacts.of(chain.converted(project).facts)
    assert converted.operators == ("CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX")
    end = converted.inputs["images"]
    assert (end.scale, end.zero_point) == (1.0, zero_point)
    rounded = {**scaling, "mean": 128.0} if scaling is ONE_MEAN else scaling

    request = project.request("evaluate", "dataset", "freeze", "convert")
    subject = evaluate._subject(request)  # noqa: SLF001
    graph = graph_outputs.imported(graph_def.read(subject.frozen.file("float_graph.pb")))
    feed = learning.application(project.request("check", "dataset")).feed({"images": PICTURES})
    behind = "input_by_channel/product:0" if scaling is ONE_MEAN else "input_by_channel/sum:0"
    with session(graph, 1) as opened:
        ours, theirs = (
            graph_outputs.run(opened, subject.graphs.outputs, each)["labels"]
            for each in (feed, {behind: formula(rounded)})
        )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)

    report = json.loads(project.run(evaluate.run, "dataset", "freeze", "convert").file("report.json").read_text())
    assert report["agreement"]["max_lsb"] <= len(converted.operators) - 1
    assert report["scaling"]["mean"] == scaling["mean"]
    assert report["scaling"]["std_dev"] == ([1.0] * 3 if scaling is CAFFE else scaling["std_dev"])
    assert report["scaling"].get("order", "rgb") == scaling["order"]
    rounding = [text for text in report["warnings"] if "a zero point is a byte" in text]
    assert bool(rounding) == (scaling is ONE_MEAN)


@pytest.mark.parametrize("scaling", [IMAGENET, CAFFE], ids=["imagenet", "caffe"])
def test_padding_with_different_means_is_refused_before_training_and_the_hint_converts(
    scaling: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RewriteError, match="cannot be made fully integer") as refused:
        made(tmp_path / "refused", scaling, {"padding": "same"}, **chain.PTQ)
    ((layer, why),) = refused.value.facts
    assert layer == "conv"
    assert "it pads with zeros, which are another byte in each channel" in str(why)
    hint = refused.value.hint
    assert follows("and begin the network with keras.layers.Normalization(") in hint
    written = json.loads(re.findall(r'write "input": (\{.*?\})', hint)[0])
    assert written == {"mean": 0, "std_dev": 1, **({"order": "bgr"} if scaling is CAFFE else {})}
    means, variances = (json.loads(each) for each in re.findall(r"(?:mean|variance)=(\[.*?\])", hint))
    assert means == scaling["mean"]
    np.testing.assert_allclose(np.sqrt(variances), np.broadcast_to(scaling["std_dev"], 3))
    scale = {"mean": means, "variance": variances}
    project = made(tmp_path / "hint", written, {"padding": "same", "scale": scale}, **chain.PTQ)
    operators = ConvertFacts.of(chain.converted(project).facts).operators
    assert {"MUL", "ADD"} & {*operators}


def test_normalization_at_the_beginning_is_folded_where_it_is_exact(tmp_path: Path) -> None:
    scale = {"mean": IMAGENET["mean"], "variance": [each**2 for each in IMAGENET["std_dev"]]}
    project = made(tmp_path, {"mean": 0.0, "std_dev": 1.0}, {"scale": scale}, **QAT)
    operators = ConvertFacts.of(chain.converted(project).facts).operators
    assert operators == ("CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX")
    report = json.loads(project.run(evaluate.run, "dataset", "freeze", "convert").file("report.json").read_text())
    assert report["agreement"]["max_lsb"] <= len(operators) - 1


@pytest.mark.parametrize("fields", [{"mean": [1.0, 2.0], "std_dev": 1.0}, {"mean": 1.0, "std_dev": [2.0] * 4}])
def test_lists_have_one_value_for_each_channel(fields: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StageError, match="not one for each channel") as refused:
        made(tmp_path / "refused", fields, {}, **chain.PTQ)
    assert refused.value.hint == "Write 3" + follows(" values, or one number for all channels.")
    made(tmp_path / "three", {name: [1.0, 2.0, 3.0] for name in fields}, {}, **chain.PTQ)
    made(tmp_path / "one", {"mean": 1.0, "std_dev": 2.0}, {}, **chain.PTQ)


def test_grey_pictures_have_numbers_and_no_order_of_colours(tmp_path: Path) -> None:
    grey = chain.project(tmp_path, (8, 8, 1), {"call": f"{__name__}:network"})
    for fields, hint in (
        ({"mean": [1.0, 2.0, 3.0], "std_dev": 1.0}, follows("Write numbers, not lists.")),
        ({"mean": 1.0, "std_dev": 1.0, "order": "bgr"}, follows('Leave "order" out.')),
    ):
        grey.settings["inputs"] = {"images": fields}
        with pytest.raises(StageError) as refused:
            grey.run(check.run, "dataset")
        assert refused.value.hint == hint
    grey.settings["inputs"] = {"images": {"mean": 1.0, "std_dev": 1.0}}
    grey.settings["quantize"] = {**grey.settings["quantize"], "mode": "integer"}
    grey.run(check.run, "dataset")
