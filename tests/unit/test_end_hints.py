"""Inputs, outputs, gates and sources: a fault is named with its place, and what it says to write is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths
from tests.hints import follows
from tests.unit.test_spec_errors import GOOD, patched, refused

Fields = dict[str, Any]

BYTES: Fields = {"mean": 0, "std_dev": 255}
REAL: Fields = {"real": True}
NPZ: Fields = {"name": "npz", "path": "data.npz"}
PICTURES: Fields = {"name": "images", "path": "pictures"}
RECORDS: Fields = {
    "name": "tfrecord", "path": "shards",
    "features": {"images": {"feature": "image/encoded", "kind": "picture"}, "labels": {"feature": "l", "kind": "int"}},
}  # fmt: skip
GRID: Fields = {"feature_maps": [[8, 8], [4, 4]], "scales": [0.2, 0.5]}
BOXES: Fields = {"task": "detection", "anchors": GRID}
CALLED: Fields = {"task": "call", "loss": "net:loss", "metrics": {"error": {"call": "net:error", "better": "lower"}}}
PRETRAINED: Fields = {"train": None, "model": {"keras": "a.h5"}, "quantize": {"method": "ptq"}}
FROZEN: Fields = {**PRETRAINED, "model": {"graph_def": "a.pb"}}
SAVED: Fields = {**PRETRAINED, "model": {"saved_model": "net"}}


def inputs(**parts: Fields) -> Fields:
    return {"input": None, "inputs": parts}


def outputs(**parts: Fields) -> Fields:
    return {"dataset": NPZ, "outputs": parts}


def of(task: str, **fields: Any) -> Fields:
    return outputs(out={"task": task, **fields})


def anchored(**fields: Any) -> Fields:
    return of("detection", anchors={**GRID, **fields})


def images(**fields: Any) -> Fields:
    return {"dataset": {**PICTURES, **fields}}


def records(features: Fields | None = None, **fields: Any) -> Fields:
    return {"dataset": {**RECORDS, "features": {**RECORDS["features"], **(features or {})}, **fields}}


def gated(gates: Fields, **fields: Any) -> Fields:
    return {"evaluate": {"gates": gates}, **fields}


def unlabelled(**fields: Any) -> Fields:
    return {**PRETRAINED, **fields, "dataset": {**NPZ, "labels": False}}


def network(fields: Fields, **more: Any) -> Fields:
    return {**fields, "model": {**fields["model"], **more}}


TWO = inputs(a=BYTES, b=REAL)
TWO_OUT = {"a": {"task": "classification"}, "b": {"task": "regression"}}

INPUTS: list[tuple[Fields, str, str, Fields]] = [
    ({"input": None}, "/input", follows('write "input": {"mean": 0, "std_dev": 255}'), {"input": BYTES}),
    ({"input": None}, "/input", 'or "inputs" for several, or for real values', {**TWO, "dataset": NPZ}),
    ({"inputs": {"a": BYTES}}, "/inputs", follows("use only one of input and inputs; null removes"),
     inputs(a=BYTES)),
    (inputs(**{"9": BYTES}), "/inputs", follows('a name has letters, digits and "_", and begins'), inputs(a_9=BYTES)),
    (inputs(a={**BYTES, "maen": 1}), "/inputs/a/maen", 'Did you mean "mean"?', inputs(a=BYTES)),
    ({"input": {**BYTES, "real": True}}, "/input", follows("no mean, std_dev and order: remove them, or remove real"),
     {"input": REAL, "dataset": NPZ}),
    (inputs(a={**REAL, "order": "bgr"}), "/inputs/a", "or remove real", inputs(a={**BYTES, "order": "bgr"})),
    ({"input": {"mean": 0}}, "/input/std_dev", follows('no range; write "real": true for one of real values'),
     {"input": {"mean": 0, "std_dev": 1}}),
    ({"input": {**BYTES, "range": [0, 1]}}, "/input", 'write "real": true', {"input": {**REAL, "range": [0, 1]}}),
    ({"input": {**REAL, "range": [1]}}, "/input/range", "write two numbers", {"input": {**REAL, "range": [-1, 1]}}),
    ({"input": {**REAL, "range": [1, 0]}}, "/input/range", "with minimum < maximum",
     {"input": {**REAL, "range": None}}),
    ({"input": {**REAL, "range": [2, 5]}}, "/input/range", follows("which is the zero point: write ["),
     {"input": {**REAL, "range": [0, 5]}}),
    ({"input": {**REAL, "range": [0, 1e9]}}, "/input/range", follows("wide: scale the data"),
     {"input": {**REAL, "range": [0, 1e6]}}),
    ({"input": {"mean": [1, 2, 3], "std_dev": [1, 2]}}, "/input/std_dev",
     follows("must have one value for each channel, as mean has"),
     {"input": {"mean": [1, 2, 3], "std_dev": [4, 5, 6]}}),
    ({"input": {"mean": [-1], "std_dev": 1}}, "/input/mean/0", follows("a mean is in bytes: multiply one of"),
     {"input": {"mean": [123.7], "std_dev": 1}}),
    ({"input": {"mean": 1, "std_dev": [0]}}, "/input/std_dev/0", follows("a deviation is in bytes: multiply one of"),
     {"input": {"mean": 1, "std_dev": [58.4]}}),
    ({"input": {"mean": [1, 2], "std_dev": 1, "order": "bgr"}}, "/input/order",
     follows("is for images of three channels: remove it, or"),
     {"input": {"mean": [1, 2, 3], "std_dev": 1, "order": "bgr"}}),
    ({**inputs(a=REAL), "augment": {"pad_crop": 2}}, "/augment", follows("but all inputs are real values: remove it"),
     inputs(a=REAL)),
    ({**anchored(aspect_ratios=[1]), "augment": {"flip_left_right": True}}, "/augment",
     follows("moves the pixels of the images, but not the targets"), anchored(aspect_ratios=[1])),
    ({**inputs(a=BYTES, b=BYTES)}, "/inputs/a", follows("has one array for an input, images: use npz or tfrecord"),
     {**inputs(a=BYTES, b=BYTES), "dataset": NPZ}),
    ({**TWO, "dataset": NPZ, "quantize": {"mode": "tf1"}}, "/quantize/mode",
     follows('knows one input of bytes and one classification: write "mode": "integer"'),
     {**TWO, "dataset": NPZ, "quantize": {"mode": "integer"}}),
    ({"input": {"mean": [1, 2, 3], "std_dev": 1}, "quantize": {"mode": "tf1"}}, "/input/mean",
     follows('write "mode": "integer", which takes one for each channel'),
     {"input": {"mean": [1, 2, 3], "std_dev": 1}}),
    ({**of("regression"), "quantize": {"mode": "tf1"}}, "/quantize/mode", 'write "mode": "integer"', of("regression")),
]  # fmt: skip

OUTPUTS: list[tuple[Fields, str, str, Fields]] = [
    (outputs(out={}), "/outputs/out/task", "missing.", of("classification")),
    (of("clasification"), "/outputs/out/task", 'Did you mean "classification"?', of("classification")),
    (outputs(**{"a.b": {"task": "regression"}}), "/outputs", "a name has letters, digits", outputs(ab=CALLED)),
    (of("classification", loss="mse"), "/outputs/out/loss", follows("not for a {}: remove this field"),
     of("classification")),
    (of("regression", anchors=GRID), "/outputs/out/anchors", "is only for detection", outputs(out=BOXES)),
    (of("regression", loss="hubr"), "/outputs/out/loss", 'Did you mean "huber"?', of("regression", loss="huber")),
    (of("classification", values="classes"), "/outputs/out/values", "must be one of probabilities, logits",
     of("classification", values="logits")),
    (of("regression", values="logits"), "/outputs/out/values", "is only for classification, segmentation",
     of("regression")),
    (of("segmentation", values="probabilities"), "/outputs/out/values", "must be one of logits, classes",
     of("segmentation", values="classes")),
    (of("detection"), "/outputs/out/anchors", "missing. A detection needs its anchors", outputs(out=BOXES)),
    (of("call", metrics=CALLED["metrics"]), "/outputs/out/loss", follows("missing. A {} needs {}"),
     outputs(out=CALLED)),
    (of("call", loss="net:loss"), "/outputs/out/metrics", "needs your metrics", outputs(out=CALLED)),
    (outputs(out={**CALLED, "loss": "mse"}), "/outputs/out/loss",
     follows("must be your function: write package.module:function"), outputs(out=CALLED)),
    (outputs(out={**CALLED, "loss": "nets:loss"}), "/outputs/out/loss", "the project has no module nets",
     outputs(out=CALLED)),
    (outputs(out={**CALLED, "metrics": {"e": {"call": "nets:e"}}}), "/outputs/out/metrics/e/call",
     "the project has no module nets", outputs(out=CALLED)),
    (of("regression", range=[1, 2]), "/outputs/out/range", "must contain 0", of("regression", range=[0, 2])),
    (anchored(scales=[0.2]), "/outputs/out/anchors/scales", follows("must have one value for each feature map"),
     anchored()),
    (anchored(scales=[0.2, 2]), "/outputs/out/anchors/scales/1", "must be at most 1", anchored(scales=[0.2, 1])),
    (anchored(feature_maps=[8, 4]), "/outputs/out/anchors/feature_maps/0", "must be a list, got 8", anchored()),
    (anchored(feature_maps=[[8], [4, 4]]), "/outputs/out/anchors/feature_maps/0",
     follows("write two numbers, [height, width]"), anchored()),
    (anchored(feature_maps=[[999, 999], [4, 4]]), "/outputs/out/anchors/feature_maps",
     follows("leave out the finest"), anchored()),
    ({**TWO, **of("reconstruction")}, "/outputs/out/target", follows("Name the input that is reconstructed"),
     {**TWO, **of("reconstruction", target="a")}),
    ({**TWO, **of("reconstruction", target="c")}, "/outputs/out/target", follows("must be one of the inputs, {}"),
     {**TWO, **of("reconstruction", target="b")}),
    ({"outputs": {"out": BOXES}}, "/outputs/out/task", follows("which is no target of a {}: use npz or tfrecord"),
     outputs(out=BOXES)),
    ({"outputs": {"out": {"task": "classification", "target": "classes"}}}, "/outputs/out/target",
     follows("has one target, labels; got"), {"outputs": {"out": {"task": "classification", "target": "labels"}}}),
    ({"outputs": TWO_OUT}, "/outputs/b/target", follows('has one target: write "target": "labels"'),
     {"outputs": {"labels": {"task": "classification"}, "b": {"task": "regression", "target": "labels"}}}),
]  # fmt: skip

GATES: list[tuple[Fields, str, str, Fields]] = [
    (gated({"top_1": {"min": 90}}), "/evaluate/gates/top_1", follows("is no metric of the outputs: {}"),
     gated({"top1": {"min": 90}})),
    (gated({"mae": {"max": 1}}, **outputs(**TWO_OUT)), "/evaluate/gates/mae", 'Did you mean "b.mae"?',
     gated({"b.mae": {"max": 1, "max_drop": 0.1}}, **outputs(**TWO_OUT))),
    (gated({"auc": {"min": 0.5}}, **outputs(out=CALLED)), "/evaluate/gates/auc", "is no metric of the outputs: error",
     gated({"error": {"max": 0.5}}, **outputs(out=CALLED))),
    (gated({"top1": {"mim": 90}}), "/evaluate/gates/top1/mim", 'Did you mean "min"?', gated({"top1": {"min": 90}})),
    (gated({"auc": {"min": 90}}, **of("multilabel")), "/evaluate/gates/auc/min", follows("{} is at most {}; got"),
     gated({"auc": {"min": 0.9}}, **of("multilabel"))),
    (gated({"b.r2": {"min": 90}}, **outputs(**TWO_OUT)), "/evaluate/gates/b.r2/min", "r2 is at most 1; got 90",
     gated({"a.top1": {"min": 90}}, **outputs(**TWO_OUT))),
    (gated({"top1": {}}), "/evaluate/gates/top1", "must not be empty", gated({"top1": {"max_drop": 2}})),
    (gated({"top1": {"min": 9, "max": 8}}), "/evaluate/gates/top1", follows("must have min <= max"),
     gated({"top1": {"min": 8, "max": 9}})),
    ({**of("regression"), "evaluate": {"min_top1": 9}}, "/evaluate/min_top1", follows("needs one classification, got"),
     {**of("regression"), "evaluate": {"gates": {"mae": {"min": 9}}}}),
]  # fmt: skip

DATA: list[tuple[Fields, str, str, Fields]] = [
    ({"dataset": {**NPZ, "size": [8, 8]}}, "/dataset/size", follows("is only for {}, not for {}: remove this field"),
     {"dataset": NPZ}),
    ({"dataset": {"test": 0.2}}, "/dataset/test", "is only for npz, images, tfrecord, call, not for digits",
     images(test=0.2)),
    ({"dataset": {"name": "call"}}, "/dataset/call", follows('name your function that returns the arrays: "call":'),
     {"dataset": {"name": "call", "call": "net:arrays"}}),
    ({"dataset": {"name": "call", "call": "net:arrays", "path": "x"}}, "/dataset/path",
     follows("the function makes the data: remove this field"), {"dataset": {"name": "call", "call": "net:arrays"}}),
    (images(size=[8]), "/dataset/size", "write two numbers, [height, width]", images(size=[8, 8])),
    (images(resize="pad"), "/dataset/size", follows("With resize write the size"), images(resize="pad", size=[8, 8])),
    (images(color="gray"), "/dataset/color", 'Did you mean "grey"?', images(color="grey")),
    (images(background=[0]), "/dataset/background", follows("write three bytes, [red, green, blue]"),
     images(background=[0, 0, 255])),
    (images(splits={"train": "../x"}), "/dataset/splits/train", follows("write a folder inside dataset.path"),
     images(splits={"train": "a/x", "validation": "val"})),
    (images(table="../labels.csv"), "/dataset/table", "lies outside the project", images(table="labels.csv")),
    (images(url="https://a/b"), "/dataset/url", follows("are your own: remove this field"), images()),
    (images(validation=0.5, test=0.6), "/dataset/test", follows("leaves nothing to train on: validation and test"),
     images(validation=0.1, test=0.2)),
    ({"dataset": {"name": "tfrecord", "features": RECORDS["features"]}}, "/dataset/path",
     follows("the dataset tfrecord is your own data: set dataset.path"), records()),
    ({"dataset": {"name": "tfrecord", "path": "shards"}}, "/dataset/features",
     follows('name the features: "features": {"images": {"feature"'), records()),
    ({"dataset": {**RECORDS, "features": {}}}, "/dataset/features", follows("must name at least one feature"),
     records()),
    (records({"images": {"feature": "i", "kind": "picture", "shape": [8, 8, 3]}}), "/dataset/features/images/shape",
     follows("is not for a picture: remove it, and set dataset.size"), records(size=[8, 8])),
    (records({"images": {"feature": "i", "kind": "bytes", "shape": [0]}}), "/dataset/features/images/shape/0",
     follows("a length is at least 1, or -1 for the longest"),
     records({"images": {"feature": "i", "kind": "bytes", "shape": [-1, 8, 1]}})),
    (records({"images": {"feature": "i", "kind": "bytes"}}, size=[8, 8]), "/dataset/size",
     follows('no feature has "kind": "picture": remove it'), records({"images": {"feature": "i", "kind": "bytes"}})),
    ({**inputs(images=BYTES, b=REAL), **records()}, "/inputs/b", follows("must be named after a feature"),
     {**inputs(images=BYTES, b=REAL), **records({"b": {"feature": "b", "kind": "float"}})}),
    ({**records(), "outputs": {"out": {"task": "regression", "target": "label"}}}, "/outputs/out/target",
     follows("must be one of the features, {}"),
     {**records(), "outputs": {"out": {"task": "regression", "target": "labels"}}}),
    ({**PRETRAINED, "quantize": {"steps": 9, "learning_rate": {"initial": 1}}, "dataset": {"labels": False}},
     "/quantize/method", follows('write "quantize": {"method": "ptq"}, or remove dataset.labels'),
     {**PRETRAINED, "dataset": {"labels": False}}),
    (unlabelled(train=GOOD["train"]), "/train", follows("a training needs labels: remove train, or"), unlabelled()),
    (unlabelled(model={"name": "lenet"}), "/model", follows("use model.weights, keras, saved_model or graph_def"),
     unlabelled(model={"name": "lenet", "weights": "a"})),
    (unlabelled(evaluate={"min_top1": 9}), "/evaluate/min_top1",
     follows("the agreement is the metric; use min_agreement"), unlabelled(evaluate={"min_agreement": 95})),
    (unlabelled(outputs={"out": CALLED}), "/outputs/out/task", follows("name the task that the output is like"),
     unlabelled(outputs={"out": {"task": "regression"}}, evaluate={"min_agreement": 9})),
]  # fmt: skip

SOURCES: list[tuple[Fields, str, str, Fields]] = [
    (network(FROZEN, graph_def="a.pbtxt"), "/model/graph_def", follows("write the path of a frozen graph's .pb file"),
     FROZEN),
    (network(FROZEN, input="x:0", inputs={"images": "x:0"}), "/model",
     follows("name the tensors once: input or inputs, output or outputs"), network(FROZEN, inputs={"images": "x:0"})),
    (network(FROZEN, outputs={"label": "y"}), "/model/outputs/label", 'Did you mean "labels"?',
     network(FROZEN, outputs={"labels": "y"})),
    (network(SAVED, outputs={"out": "y"}), "/model/outputs/out", follows("is no name of the spec's {}: {}"),
     network(SAVED, outputs={"labels": "y"}, signature="serve")),
    ({**TWO, **network(SAVED, inputs={"a": "x"}), "dataset": NPZ}, "/model/inputs/b",
     follows("Name the tensor of each of the {}"),
     {**TWO, **network(SAVED, inputs={"a": "x", "b": "y"}), "dataset": NPZ}),
    ({**network(FROZEN, output="y"), **outputs(out=BOXES)}, "/model/output",
     follows("names one tensor of {}: write"),
     {**network(FROZEN, outputs={"out/boxes": "y", "out/scores": "z"}), **outputs(out=BOXES)}),
    (network(SAVED, logits="y"), "/model/meta_graph",
     follows("logits is only for meta_graph; elsewhere write output"),
     network(FROZEN, output="y")),
    ({"model": {"keras": "a.h5", "output": "y"}}, "/model", follows("output is only for saved_model and graph_def"),
     network(SAVED, output="y")),
    (network(FROZEN, signature="serve"), "/model", follows("signature is only for saved_model"), FROZEN),
    ({"model": {"name": "lenet", "inputs": {"images": "x"}}}, "/model",
     follows("inputs and outputs of a model are only for saved_model and graph_def"), {"model": {"name": "lenet"}}),
    (network(SAVED, weights="a"), "/model", follows("a saved_model and a graph_def hold their weights: remove weights"),
     SAVED),
    (network(SAVED, saved_model="../net"), "/model/saved_model", "lies outside the project", SAVED),
]  # fmt: skip

ROWS = [*INPUTS, *OUTPUTS, *GATES, *DATA, *SOURCES]


@pytest.mark.parametrize(("fields", "pointer", "hint", "followed"), ROWS, ids=[f"{row[1]} {row[2]}" for row in ROWS])
def test_a_spec_that_follows_the_hint_is_read(
    tmp_path: Path, fields: Fields, pointer: str, hint: str, followed: Fields
) -> None:
    (tmp_path / "net.py").touch()
    error = refused(tmp_path, patched(**fields))
    texts = " ".join(text for at, text in error.facts if at == pointer).lower()
    assert all(part in texts for part in hint.lower().split("{}")), error.block()
    file = tmp_path / "net.json"
    file.write_text(json.dumps({key: value for key, value in patched(**followed).items() if value is not None}))
    assert load("net", file, AllowedPaths(tmp_path))


def test_without_labels_a_gate_of_classes_has_one_fault_also_for_another_task(tmp_path: Path) -> None:
    gates = {"max_accuracy_drop": 1, "min_top1": 9}
    error = refused(tmp_path, patched(**unlabelled(outputs={"out": {"task": "regression"}}, evaluate=gates)))
    faults = [(at, text.partition(":")[0]) for at, text in error.facts if at.startswith("/evaluate")]
    assert faults == [("/evaluate/max_accuracy_drop", "needs labels"), ("/evaluate/min_top1", "needs labels")]
