"""What a fault of a spec says to write is accepted when it is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qatbuild.exchange.errors import SpecError
from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths
from tests.hints import follows
from tests.unit.test_spec_errors import GOOD, patched, refused

Fields = dict[str, Any]

RATE: Fields = {"initial": 0.1}
STEP: Fields = {**RATE, "schedule": "step"}
NPZ: Fields = {"name": "npz", "path": "data.npz"}
URL: Fields = {"name": "npz", "url": "http://a/b", "sha256": "0" * 64}
GRAPH: Fields = {"meta_graph": "model.ckpt-1000.meta", "input": "x", "logits": "y", "weights": "a"}
CALL: Fields = {"call": "net:build"}
FILE: Fields = {"train": None, "model": {"keras": "a.h5"}}
PTQ: Fields = {"method": "ptq"}
NORMALIZED: Fields = {"input": {"mean": 0, "std_dev": 1}, "model": CALL}


def layer(**fields: Any) -> Fields:
    return {"quantize": {"overrides": [{"layer": "a", **fields}]}}


def learning(**rate: Any) -> Fields:
    return {"train": {"steps": 9, "learning_rate": {**RATE, **rate}}}


def vela(**options: Any) -> Fields:
    return {"deploy": {"vela": options}}


HINTS: list[tuple[Fields, str, str, Fields]] = [
    ({"trian": GOOD["train"]}, "/trian", follows("unknown field."), {"train": GOOD["train"]}),
    ({"matrix": {"quantize.method": ["ptq"]}, "quantize": 1}, "/quantize", follows("must be an object, got"),
     {"matrix": {"quantize.method": ["ptq"]}, "quantize": {}}),
    ({"train": {"steps": 9}}, "/train/learning_rate", follows("missing."), learning()),
    ({"variants": {"a=b": {}}}, "/variants", follows("A variant's name has letters"), {"variants": {"0.a-b_": {}}}),
    ({"variants": {"a": {"matrix": {}}}}, "/variants/a", follows("must not contain variants, extends or matrix"),
     {"variants": {"a": {}}, "matrix": {"train.seed": [1, 2]}}),
    ({"variants": {"v" * 252: {}}}, f"/variants/{'v' * 252}", follows("makes a label that is longer than"),
     {"variants": {"v" * 251: {}}}),
    ({"matrix": {"": [1]}}, "/matrix", follows("write the path of a field with its section"),
     {"matrix": {"train.learning_rate.initial": [1]}}),
    ({"matrix": {"train.seed": 1}}, "/matrix/train.seed", follows("write a list of the field's values"),
     {"matrix": {"train.seed": [1]}}),
    ({"matrix": {"train.seed": [1, 1]}}, "/matrix/train.seed/1", follows("occurs twice"),
     {"matrix": {"train.seed": [1]}}),
    ({"matrix": {"train": [{}], "train.seed": [1]}}, "/matrix/train.seed", follows("another field of the matrix"),
     {"matrix": {"train.seed": [1]}}),
    ({"matrix": {"train.seed": [1], "exclude": [{"train.seed": 2}]}}, "/matrix/exclude/0", follows("excludes nothing:"),
     {"matrix": {"train.seed": [1, 2], "exclude": [{"train.seed": 2}]}}),
    ({"matrix": {"train.seed": [1], "exclude": [{"train.seed": 1}]}}, "/matrix", follows("leaves no combination"),
     {"matrix": {"train.seed": [1, 2], "exclude": [{"train.seed": 1}]}}),
    ({"matrix": {"train.seed": [1], "include": [{"train.seed": 1}]}}, "/matrix/include/0",
     follows("repeats the combination"), {"matrix": {"train.seed": [1], "include": [{"train.seed": 2}]}}),
    ({"matrix": {f"model.options.a{each}": [1] for each in range(201)}, "model": CALL}, "/matrix",
     follows("has combinations of more than"),
     {"matrix": {f"model.options.a{each}": [1] for each in range(200)}, "model": CALL}),
    ({"dataset": {**URL, "url": "http://a/ b"}}, "/dataset/url", follows("write an address without spaces"),
     {"dataset": {**URL, "url": "http://a/%20b"}}),
    ({"dataset": {"name": "images"}}, "/dataset/path", follows("the dataset images is your own data"),
     {"dataset": {"name": "images", "path": "pictures"}}),
    ({"dataset": {"name": "npz"}}, "/dataset/path", follows("npz is your own data: set dataset.path, or url and"),
     {"dataset": NPZ}),
    ({"dataset": {"name": "npz"}}, "/dataset/path", "or url and sha256", {"dataset": URL}),
    ({"dataset": {"name": "cifar10", "url": "http://a/b"}}, "/dataset/sha256",
     follows("a download from your own url is verified by its SHA-256"), {"dataset": {**URL, "name": "cifar10"}}),
    ({"dataset": {"name": "idx", "sha256": "0" * 64}}, "/dataset", follows("which one sha256 cannot cover: remove it"),
     {"dataset": {"name": "idx"}}),
    ({"input": {"mean": -5, "std_dev": 1}}, "/input/mean", follows("mean becomes the input's zero point"), NORMALIZED),
    ({"input": {"mean": "x", "std_dev": 1}}, "/input/mean", "a list has one for each channel",
     {"input": {"mean": [124, 116, 104], "std_dev": [58, 57, 57]}}),
    ({"input": {"mean": 0, "std_dev": 0}}, "/input/std_dev", follows("The input's scale is 1 / std_dev"),
     {"input": {"mean": 0, "std_dev": [58, 57, 57]}}),
    ({"model": {"call": "net.build"}}, "/model/call", follows("write package.module:function"), {"model": CALL}),
    ({"model": {"call": "nett:build"}}, "/model/call", follows("the project has no module"), {"model": CALL}),
    ({"model": {"keras": "net.tf"}}, "/model/keras", follows("write the path of a .keras or .h5 file"),
     {"model": {"keras": "net.keras"}}),
    ({"model": {"keras": "net.pt"}}, "/model/keras", "PyTorch", {"model": {"keras": "net.keras"}}),
    ({"model": {**GRAPH, "meta_graph": "a.pb"}}, "/model/meta_graph", follows("write the path of the .meta file"),
     {"model": GRAPH}),
    ({"model": {"name": "lenet", **CALL}}, "/model", follows("use only one of name, call, keras, saved_model"),
     {"model": {"name": "lenet"}, "variants": {"own": {"model": {"name": None, **CALL, "options": {"a": 1}}}}}),
    ({"model": {"keras": "a.h5", "options": {}}}, "/model", "use only one of", {"model": {"keras": "a.h5"}}),
    ({"model": {**GRAPH, **CALL}}, "/model", "use only one of", {"model": GRAPH}),
    ({"model": {}}, "/model/call", follows('write "name" for a shipped network, "call"'), {"model": {"name": "lenet"}}),
    ({"model": {}}, "/model/call", '"call" for your own function', {"model": CALL}),
    ({"model": {}}, "/model/call", '"keras" for a Keras file', {"model": {"keras": "a.keras"}}),
    ({"model": {}}, "/model/call", '"meta_graph" for a', {"model": GRAPH}),
    ({"model": {"meta_graph": "a.meta", "weights": "a"}}, "/model/input",
     follows("name its tensors of real images and of logits"), {"model": GRAPH}),
    ({"model": {"name": "lenet", "input": "x"}}, "/model", follows("input is only for meta_graph, saved_model"),
     {"model": {"name": "lenet"}}),
    ({"model": {**GRAPH, "weights": None}}, "/model/weights", follows("a meta graph holds no weights: name its"),
     {"model": GRAPH}),
    ({"model": {"name": "lenet", "lrn": True}}, "/model/name", follows("only cifarnet has lrn"),
     {"model": {"name": "cifarnet", "lrn": True}}),
    ({"model": {"name": "lenet", "width": 0.5}}, "/model/name", follows("only mobilenet has width"),
     {"model": {"name": "mobilenet", "width": 0.5}}),
    ({"dataset": {**NPZ, "path": "../x.npz"}}, "/dataset/path", follows("Link it into the project, or list it in"),
     {"dataset": NPZ}),
    ({"dataset": {**NPZ, "path": "x" * 256}}, "/dataset/path", "is too long: a name has at most",
     {"dataset": {**NPZ, "path": "x" * 255}}),
    ({"dataset": {"path": "x"}}, "/dataset/path", follows("the digits are embedded: remove this field, or"), {}),
    ({"dataset": {"path": "x"}}, "/dataset/path", "set dataset.name", {"dataset": NPZ}),
    ({"train": None}, "/train", follows("Only with trained weights (model.weights, keras, saved_model or graph_def)"),
     {**FILE, "quantize": PTQ}),
    ({"train": None}, "/train", "model.weights", {**FILE, "model": {"name": "lenet", "weights": "a"}, "quantize": PTQ}),
    (FILE, "/quantize/steps", follows("Its default depends on `train`, which is absent"),
     {**FILE, "quantize": {"steps": 9, "learning_rate": RATE}}),
    ({**FILE, "quantize": {"start": "scratch"}}, "/train", follows('With quantize.start "scratch", train.steps is'),
     {"quantize": {"start": "scratch"}}),
    ({"model": {"name": "lenet", "weights": "a"}, "quantize": {"start": "scratch"}}, "/model/weights",
     follows('use quantize.start "float"'),
     {"model": {"name": "lenet", "weights": "a"}, "quantize": {"start": "float"}}),
    ({"quantize": {"start": "scratch", "steps": 5}}, "/quantize/steps", follows("applies: remove this field"),
     {"quantize": {"start": "scratch"}}),
    ({"quantize": {**PTQ, "steps": 5}}, "/quantize/steps", follows(': remove this field, or write "method"'),
     {"quantize": PTQ}),
    ({"quantize": {**PTQ, "steps": 5}}, "/quantize/steps", '"method": "qat"', {"quantize": {"steps": 5}}),
    ({"quantize": {"calibration": {"images": 9}}}, "/quantize/calibration", 'write "method": "ptq"',
     {"quantize": {**PTQ, "calibration": {"images": 9}}}),
    ({"quantize": {**PTQ, "calibration": {"percentile": 99}}}, "/quantize/calibration/percentile",
     follows('needs "range": "percentile"'),
     {"quantize": {**PTQ, "calibration": {"range": "percentile", "percentile": 99}}}),
    ({"quantize": {"mode": "tf1", "scheme": "int8_per_channel"}}, "/quantize/scheme",
     follows('with "mode": "tf1" write uint8, or int8 (symmetric)'), {"quantize": {"mode": "tf1", "scheme": "int8"}}),
    ({"quantize": {"mode": "tf1", "overrides": [{"layer": "a", "bits": 8}]}}, "/quantize/overrides",
     follows('remove them, or write "mode": "integer"'), layer(bits=8)),
    (layer(), "/quantize/overrides/0", follows("must set range, bits or float"), layer(float=True)),
    (layer(float=True, bits=8), "/quantize/overrides/0", follows('must not set range or bits with "float": true'),
     layer(float=True)),
    (layer(range=[0]), "/quantize/overrides/0/range", follows("write two numbers, [minimum, maximum]"),
     layer(range=[0, 6])),
    (layer(range=[1, 6]), "/quantize/overrides/0/range", follows("must contain 0, which padding and ReLU need"),
     layer(range=[0, 6])),
    (layer(range=[0, 0]), "/quantize/overrides/0/range", follows("must be [minimum, maximum] with minimum < maximum"),
     layer(range=[0, 1])),
    (layer(range=[0, 1e9]), "/quantize/overrides/0/range", follows("wide, as the kernels require"),
     layer(range=[0, 65536])),
    (layer(bits=4), "/quantize/overrides/0/bits", follows("whose kernels compute wrongly with fewer"),
     {"quantize": {"scheme": "int8", **layer(bits=4)["quantize"]}}),
    ({"quantize": PTQ, "convert": {"checkpoint": 5}}, "/convert/checkpoint", follows("ptq does not train and has one"),
     {"quantize": PTQ, "convert": {"checkpoint": "last"}}),
    ({"convert": {"checkpoint": 10}}, "/convert/checkpoint", follows("must be a step with a checkpoint: every"),
     {"convert": {"checkpoint": 8}}),
    ({"dataset": {"validation": 0}, "convert": {"checkpoint": "best"}}, "/convert/checkpoint",
     follows('"best" needs validation images'), {"dataset": {"validation": 0.1}, "convert": {"checkpoint": "best"}}),
    ({"quantize": {"quant_delay": 20}}, "/quantize/quant_delay", follows("steps of its training, or"),
     {"quantize": {"quant_delay": 19}}),
    (learning(warm_up_steps=9), "/train/learning_rate/warm_up_steps", follows("steps of the training, got"),
     learning(warm_up_steps=8)),
    (learning(**STEP, boundaries=[2, 5], values=[1]), "/train/learning_rate/values",
     follows("must have one value for each boundary"), learning(**STEP, boundaries=[2, 5], values=[1, 0.1])),
    (learning(**STEP, boundaries=[5, 2], values=[1, 2]), "/train/learning_rate/boundaries",
     follows("must increase, got"), learning(**STEP, boundaries=[2, 5], values=[1, 2])),
    ({"deploy": {"c_array": {"runtime": "tflm"}}}, "/deploy/c_array/runtime", follows("it takes int8 only"),
     {"deploy": {"c_array": {"runtime": "tflm"}}, "quantize": {"scheme": "int8"}}),
    ({"deploy": {"c_array": {"name": "9"}}}, "/deploy/c_array/name", follows("write lowercase letters, digits and _"),
     {"deploy": {"c_array": {"name": "nine_9"}}}),
    (vela(system_config="Ethos_U65_High_End"), "/deploy/vela/system_config", follows("must be one of "),
     vela(system_config="Ethos_U55_Deep_Embedded")),
    (vela(memory_mode="Sram"), "/deploy/vela/memory_mode", "must be one of", vela(memory_mode="Sram_Only")),
    (vela(memory_mode="Dedicated_Sram"), "/deploy/vela/memory_mode", follows("an ethos-u55 has no DRAM for"),
     vela(memory_mode="Shared_Sram")),
    (vela(config="vela.ini"), "/deploy/vela/config", follows("(the path is relative to the spec)"),
     vela(config="files/vela.ini")),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "pointer", "hint", "followed"), HINTS, ids=[f"{row[1]} {row[2]}" for row in HINTS])
def test_a_spec_that_follows_the_hint_is_read(
    tmp_path: Path, fields: Fields, pointer: str, hint: str, followed: Fields
) -> None:
    (tmp_path / "net.py").touch()
    (tmp_path / "files").mkdir()
    (tmp_path / "files/vela.ini").touch()
    error = refused(tmp_path, patched(**fields))
    assert hint.lower() in " ".join(text for at, text in error.facts if at == pointer).lower(), error.block()
    file = tmp_path / "net.json"
    file.write_text(json.dumps({key: value for key, value in patched(**followed).items() if value is not None}))
    assert load("net", file, AllowedPaths(tmp_path))


TEXTS = [
    ('{"a": 1,}', follows("JSON has no comments and no comma after the last item"), json.dumps(GOOD)),
    (json.dumps(GOOD).encode("utf-16"), follows("save it as UTF-8"), json.dumps(GOOD)),
    ('{"extends": "base.json"}', follows("the path is relative to the spec that names it"),
     '{"extends": "bases/base.json"}'),
    (json.dumps({"variants": {f"v{each}": {"description": "x" * (1 << 18)} for each in range(9)}, **GOOD}),
     follows("a matrix writes many variants in few lines"),
     json.dumps({"matrix": {"train.seed": list(range(9))}, **GOOD})),
]  # fmt: skip


@pytest.mark.parametrize(("text", "hint", "followed"), TEXTS, ids=[row[1] for row in TEXTS])
def test_a_file_that_follows_the_hint_is_read(tmp_path: Path, text: str | bytes, hint: str, followed: str) -> None:
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases/base.json").write_text(json.dumps(GOOD))
    file = tmp_path / "net.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError) as caught:
        load("net", file, AllowedPaths(tmp_path))
    assert hint in caught.value.hint
    file.write_text(followed)
    assert load("net", file, AllowedPaths(tmp_path))
