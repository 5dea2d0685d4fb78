"""Faulty specs: all faults are reported at once, each with its place in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qatbuild.exchange.errors import SpecError
from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths

GOOD: dict[str, Any] = {
    "input": {"mean": 121, "std_dev": 64},
    "model": {"name": "cifarnet"},
    "train": {"steps": 100, "learning_rate": {"initial": 0.1}},
}


def refused(folder: Path, document: object, name: str = "net") -> SpecError:
    file = folder / f"{name}.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(SpecError) as caught:
        load(name, file, AllowedPaths(folder))
    return caught.value


def patched(**fields: Any) -> dict[str, Any]:
    return {**GOOD, **fields}


@pytest.mark.parametrize(
    ("fields", "pointer", "text"),
    [
        ({"trian": {}}, "/trian", 'unknown field. Did you mean "train"?'),
        ({"input": {"mean": 1, "std": 2}}, "/input/std", 'Did you mean "std_dev"?'),
        ({"input": {"mean": 1}}, "/input/std_dev", "missing."),
        ({"input": {"mean": [124, "x"], "std_dev": 1}}, "/input/mean/1", 'must be a number, got "x"'),
        ({"input": {"mean": 0, "std_dev": [58, 0]}}, "/input/std_dev/1", "must be at least 0.001, got 0"),
        ({"input": {"mean": -25.5, "std_dev": 1}}, "/input/mean", "must be at least 0, got -25.5. The mean becomes"),
        ({"input": {"mean": 255.4, "std_dev": 1}}, "/input/mean", "must be at most 255"),
        ({"input": {"mean": 300, "std_dev": 1}}, "/input/mean", "must be at most 255"),
        ({"input": {"mean": 0, "std_dev": 0}}, "/input/std_dev", "must be at least 0.001"),
        ({"input": {"mean": 1, "std_dev": "x"}}, "/input/std_dev", 'must be a number, got "x"'),
        ({"train": {"steps": 0, "learning_rate": {"initial": 1}}}, "/train/steps", "must be at least 1, got 0"),
        ({"train": {"steps": 9}}, "/train/learning_rate", "missing"),
        ({"train": None}, "/train", "Only with trained weights (model.weights, keras, saved_model or graph_def)"),
        ({"model": {"name": "cifernet"}}, "/model/name", 'Did you mean "cifarnet"?'),
        ({"model": {}}, "/model/call", "for your own"),
        ({"model": {"name": "lenet", "lrn": True}}, "/model/name", "Only cifarnet has lrn"),
        ({"model": {"name": "lenet", "call": "a:b"}}, "/model", "only one of name, call, keras, saved_model"),
        ({"model": {"call": "nowhere.net:build"}}, "/model/call", "the project has no module nowhere.net"),
        ({"model": {"call": f"{'m' * 300}:f"}}, "/model/call", "the project has no module mmm"),
        ({"model": {"call": "os..path:f"}}, "/model/call", "the project has no module os..path"),
        ({"deploy": {"c_array": {"name": "a\n"}}}, "/deploy/c_array/name", "must match"),
        ({"model": {"name": "lenet", "weights": "x" * 256}}, "/model/weights", "a name has at most 255 bytes"),
        ({"model": {"name": "lenet", "files": ["\u00fc" * 128]}}, "/model/files", "a name has at most 255 bytes"),
        ({"model": {"keras": "x/" * 2100 + "a.keras"}}, "/model/keras", "a path 4095"),
        ({"deploy": {"vela": {"config": "x" * 300}}}, "/deploy/vela/config", "does not exist"),
        ({"dataset": {"name": "npz", "url": "http://exa mple", "sha256": "0" * 64}}, "/dataset/url", "without spaces"),
        ({"quantize": "int8", "variants": {"a": {"quantize": {"method": "ptq"}}}}, "/quantize", 'object, got "int8"'),
        ({"quantize": 1, "matrix": {"quantize.method": ["ptq"]}}, "/quantize", "must be an object, got 1."),
        ({"variants": {"v\n": {}}}, "/variants", "A variant's name has letters"),
        ({"variants": {"v" * 252: {}}}, f"/variants/{'v' * 252}", "makes a label that is longer than 255"),
        ({"dataset": {"name": "npz"}}, "/dataset/path", "set dataset.path"),
        ({"dataset": {"name": "cifar10", "path": "../../secret"}}, "/dataset/path", "lies outside the project"),
        ({"dataset": {"path": "x.tar"}}, "/dataset/path", "the digits are embedded"),
        ({"dataset": {"name": "cifar10", "url": "https://a/b"}}, "/dataset/sha256", "verified by its SHA-256"),
        ({"dataset": {"name": "idx", "sha256": "0" * 64}}, "/dataset", "which one sha256 cannot cover"),
        ({"dataset": {"name": "cifar10", "url": "file:///x", "sha256": "0" * 64}}, "/dataset/url", "must match"),
        (
            {"quantize": {"learning_rate": {"initial": 1, "warm_up_steps": 20}}},
            "/quantize/learning_rate/warm_up_steps",
            "20 steps",
        ),
        ({"quantize": {"scheme": "uint7"}}, "/quantize/scheme", 'Did you mean "uint8"?'),
        ({"quantize": {"quant_delay": 20}}, "/quantize/quant_delay", "less than the 20 steps"),
        ({"quantize": {"steps": 9, "quant_delay": 9}}, "/quantize/quant_delay", "less than the 9 steps"),
        ({"quantize": {"start": "scratch", "quant_delay": 100}}, "/quantize/quant_delay", "less than the 100 steps"),
        ({"quantize": {"start": "scratch", "steps": 5}}, "/quantize/steps", "train.steps applies"),
        ({"quantize": {"learning_rate": {"initial": -1}}}, "/quantize/learning_rate/initial", "greater than 0"),
        (
            {"quantize": {"learning_rate": {"initial": 1, "schedule": "step"}}},
            "/quantize/learning_rate/boundaries",
            "missing",
        ),
        ({"convert": {"checkpoint": "lst"}}, "/convert/checkpoint", 'Did you mean "last"?'),
        ({"convert": {"checkpoint": 0}}, "/convert/checkpoint", "at least 1"),
        ({"convert": {"checkpoint": 10}}, "/convert/checkpoint", "every 4 steps, and the last, 20"),
        ({"dataset": {"validation": 0}, "convert": {"checkpoint": "best"}}, "/convert/checkpoint", "validation is 0"),
        ({"deploy": {"velo": {}}}, "/deploy/velo", 'Did you mean "vela"?'),
        ({"deploy": {"vela": {"acelerator": "x"}}}, "/deploy/vela/acelerator", 'Did you mean "accelerator"?'),
        ({"deploy": {"vela": {"accelerator": "ethos-u55-129"}}}, "/deploy/vela/accelerator", '"ethos-u55-128"?'),
        ({"deploy": {"vela": {"min_npu_percent": 101}}}, "/deploy/vela/min_npu_percent", "must be at most 100"),
        ({"deploy": {"vela": {"system_config": "Ethos_U65_High_End"}}}, "/deploy/vela/system_config", "Ethos_U55_High"),
        ({"deploy": {"vela": {"memory_mode": "Sram"}}}, "/deploy/vela/memory_mode", 'Did you mean "Sram_Only"?'),
        ({"deploy": {"vela": {"memory_mode": "Dedicated_Sram"}}}, "/deploy/vela/memory_mode", "has no DRAM"),
        ({"deploy": {"vela": {"config": "/etc/vela.ini"}}}, "/deploy/vela/config", "lies outside the project"),
        ({"deploy": {"vela": {"config": "my.ini"}}}, "/deploy/vela/config", "the file my.ini does not exist"),
        ({"deploy": {"c_array": {"runtime": "tflm"}}}, "/deploy/c_array/runtime", "it takes int8 only"),
        ({"deploy": {"c_array": {"name": "9 lives"}}}, "/deploy/c_array/name", "lowercase letters, digits and _"),
        ({"deploy": {"armnn": {"images": 10}}}, "/deploy/armnn/images", "must be at least 100"),
        ({"deploy": {"onnx": True}}, "/deploy/onnx", "must be an object"),
        ({"variants": {"a=b": {}}}, "/variants", "A variant's name has letters"),
        ({"variants": {"a": {"variants": {"b": {}}}}}, "/variants/a", "must not contain variants"),
        ({"train": {"steps": 10**12, "learning_rate": {"initial": 1}}}, "/train/steps", "must be at most"),
        ({"extends": 5}, "/extends", "must be the path"),
        ({"input": {"mean": 300, "std_dev": 1}, "quantize": {"scheme": "int8"}}, "/input/mean", "must be at most 255"),
        ({"quantize": {"mode": "tf2"}}, "/quantize/mode", 'Did you mean "tf1"?'),
        (
            {"quantize": {"method": "ptq", "steps": 5}},
            "/quantize/steps",
            'ptq does not train: remove this field, or write "met',
        ),
        ({"quantize": {"method": "ptq", "quant_delay": 5}}, "/quantize/quant_delay", "ptq does not train"),
        ({"quantize": {"method": "ptq", "start": "scratch"}}, "/quantize/start", "ptq does not train"),
        ({"quantize": {"method": "ptq", "learning_rate": {"initial": 1}}}, "/quantize/learning_rate", "does not train"),
        ({"quantize": {"method": "ptq"}, "convert": {"checkpoint": 5}}, "/convert/checkpoint", "has one checkpoint"),
        ({"quantize": {"calibration": {"images": 9}}}, "/quantize/calibration", "calibration is for ptq"),
        ({"quantize": {"calibration": {"image": 9}}}, "/quantize/calibration/image", 'Did you mean "images"?'),
        (
            {"quantize": {"method": "ptq", "calibration": {"percentile": 99}}},
            "/quantize/calibration/percentile",
            'needs "range": "percentile", got min_max',
        ),
        ({"quantize": {"freeze_bn_delay": 20}}, "/quantize/freeze_bn_delay", "or nothing is frozen; got 20"),
        ({"quantize": {"mode": "tf1", "scheme": "int8_per_channel"}}, "/quantize/scheme", "no ranges per channel"),
        (
            {"quantize": {"mode": "tf1", "overrides": [{"layer": "a", "range": [0, 1]}]}},
            "/quantize/overrides",
            "no exceptions by layer",
        ),
        ({"quantize": {"overrides": [{"layer": "a"}]}}, "/quantize/overrides/0", "must set range, bits or float"),
        (
            {"quantize": {"overrides": [{"layer": "a", "float": True, "range": [0, 1]}]}},
            "/quantize/overrides/0",
            "must not set range or bits",
        ),
        (
            {"quantize": {"overrides": [{"layer": "a", "range": [1, 6]}]}},
            "/quantize/overrides/0/range",
            "must contain 0",
        ),
        (
            {"quantize": {"overrides": [{"layer": "a", "range": [0, 0]}]}},
            "/quantize/overrides/0/range",
            "with minimum < maximum",
        ),
        (
            {"quantize": {"overrides": [{"layer": "a", "range": [-1e30, 1e30]}]}},
            "/quantize/overrides/0/range",
            "as the kernels require",
        ),
        (
            {"quantize": {"overrides": [{"layer": "a", "range": [0]}]}},
            "/quantize/overrides/0/range",
            "two numbers, [minimum, maximum]",
        ),
        (
            {"quantize": {"overrides": [{"layer": "a", "bits": 4}]}},
            "/quantize/overrides/0/bits",
            "must be 8 with uint8",
        ),
        (
            {"quantize": {"scheme": "int8", "overrides": [{"layer": "a", "bits": 9}]}},
            "/quantize/overrides/0/bits",
            "must be at most 8",
        ),
        ({"variants": {"a": {"quantize": {"scheme": "x"}}}}, "/variants/a/quantize/scheme", "must be one of"),
    ],
)
def test_fault_is_named_with_its_pointer(tmp_path: Path, fields: dict[str, Any], pointer: str, text: str) -> None:
    error = refused(tmp_path, patched(**fields))
    facts = dict(error.facts)
    assert pointer in facts, error.block()
    assert text in facts[pointer]


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    broken = patched(input={"mean": -0.5, "std_dev": -1}, convert={"checkpoint": "lst"}, trian={})
    assert refused(tmp_path, broken).message == "A spec has 4 faults."


def test_malformed_json_is_named_with_line_and_column(tmp_path: Path) -> None:
    block = refused(tmp_path, '{"model": {},\n  "input": [1,]}').block()
    assert "net.json:2:15  Expecting value" in block
    assert "net.json" in block


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": ' + "9" * 99 + "}",
        "",
        "\n",
        "[]",
        "\x00",
        "3",
        "[" * 100_000,
        "[" * 900 + "]" * 900,
    ],
)
def test_text_that_is_no_spec_is_one_error(tmp_path: Path, text: str) -> None:
    assert "net.json" in refused(tmp_path, text).block()


def test_fault_of_a_base_is_shown_in_the_base(tmp_path: Path) -> None:
    (tmp_path / "_base.json").write_text(json.dumps(patched(trian={})))
    facts = dict(refused(tmp_path, {"extends": "_base.json"}).facts)
    assert "_base.json /trian" in facts


def test_circle_of_extends_is_refused(tmp_path: Path) -> None:
    (tmp_path / "_base.json").write_text('{"extends": "net.json"}')
    assert "extends itself" in refused(tmp_path, {"extends": "_base.json"}).message


def test_extends_of_an_absent_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path, {"extends": "gone.json"}).message
