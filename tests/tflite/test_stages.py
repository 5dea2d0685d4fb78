"""The stages convert and evaluate, with requests as the engine makes them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from qatbuild.exchange.errors import ConversionError, DatasetError
from qatbuild.exchange.outputs import Output
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker import graph_outputs, tasks
from qatbuild.worker.stages import measuring
from qatbuild.worker.tflite import inspect
from qatbuild.worker.tflite.interpret import Model
from tests.hints import follows
from tests.tflite.running import run
from tests.tflite.stage_folder import FROZEN_FACTS, Build
from tests.training.applications import columns, facts

FLATTENED = ["CONV_2D", "MAX_POOL_2D", "CONV_2D", "RESHAPE"]


@pytest.fixture
def build(tmp_path, network, images):
    return Build(tmp_path, network, images)


@pytest.fixture
def built(build):
    """A frozen and converted model, and a test set that the .tflite classifies without an error."""
    build.freeze()
    build.convert()
    build.dataset(np.argmax(run(Model(build.folder / "convert" / "model.tflite"), build.images), axis=1))
    return build


def test_convert_publishes_the_model_and_describes_it(build):
    build.freeze()
    facts = build.convert()
    model = build.folder / "convert" / "model.tflite"
    assert facts["bytes"] == model.stat().st_size
    assert facts["operators"] == ["CONV_2D", "MAX_POOL_2D", "CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
    assert facts["inputs"] == [
        ["images", {"dtype": "uint8", "scale": 1 / 64, "zero_point": 121, "shape": [1, 8, 8, 1]}]
    ]
    assert facts["outputs"] == [["labels", {"dtype": "uint8", "scale": 1 / 256, "zero_point": 0, "shape": [1, 4]}]]
    assert [(each["name"], each["passed"]) for each in facts["gates"]] == [
        ("fully integer", True),
        ("loads", True),
        ("input", True),
        ("output", True),
    ]


def test_a_refused_model_is_kept_but_not_published(build):
    build.freeze(lrn=True)
    with pytest.raises(ConversionError) as refused:
        build.convert()
    kept = build.folder / "work-convert" / "refused" / "model.tflite"
    assert ("refused file", str(kept)) in refused.value.facts
    assert kept.stat().st_size > 0
    assert not list((build.folder / "work-convert" / "out").iterdir())
    assert "LRN has no integer kernel: leave it out." in refused.value.block()


def test_the_report_has_the_keys_that_scripts_rely_on(built):
    report = built.evaluate().report
    assert list(report) == [
        "label", "examples", "metrics", "agreement", "agreements", "bytes", "inputs", "outputs", "scalings", "layers",
        "runtimes", "warnings", "input", "output", "scaling", "top1", "latency_ms", "latencies_ms", "gates",
    ]  # fmt: skip
    for key, inner in {
        "top1": {"float", "fake_quant", "tflite"},
        "agreement": {"top1_percent", "max_lsb", "rmse_lsb"},
        "bytes": {"frozen_graph", "float_graph", "tflite", "ratio"},
        "input": {"dtype", "scale", "zero_point", "shape"},
        "output": {"dtype", "scale", "zero_point", "shape"},
        "latency_ms": {"median", "p95", "threads", "kernels"},
    }.items():
        assert set(report[key]) == inner
    assert all(set(each) == {"name", "wanted", "got", "passed"} for each in report["gates"])
    assert (report["label"], report["examples"]) == ("tiny@uint8", 120)


def test_latency_is_measured_for_both_kernel_sets_and_for_the_float_graph(built):
    report = built.evaluate().report
    rows = report["latencies_ms"]
    assert [(row["numbers"], row["kernels"], row["threads"]) for row in rows] == [
        ("uint8", "xnnpack", 1), ("uint8", "builtin", 1), ("float32", "xnnpack", 1), ("float32", "builtin", 1),
    ]  # fmt: skip
    assert all(0 < row["median"] <= row["p95"] for row in rows)
    assert report["latency_ms"] == {key: rows[0][key] for key in ("median", "p95", "threads", "kernels")}


def test_a_float_graph_that_cannot_be_converted_has_no_latency(built, capsys, monkeypatch):
    def refuse(*_, **__):
        raise ConversionError("no such form")

    monkeypatch.setattr("qatbuild.worker.tflite.convert.convert_float", refuse)
    report = built.evaluate().report
    assert {row["numbers"] for row in report["latencies_ms"]} == {"uint8"}
    assert "no latency of the float graph. no such form" in capsys.readouterr().out


def test_every_operator_has_a_row_of_figures(built):
    report = built.evaluate().report
    rows = report["layers"]
    assert {row["operator"] for row in rows} == {"CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"}
    assert sorted(row["position"] for row in rows) == list(range(6))
    for row in rows:
        assert set(row) == {
            "position", "name", "operator", "partner", "sqnr_db", "max_lsb", "codes_used_percent", "saturated_percent",
            "signs",
        }  # fmt: skip
        assert row["max_lsb"]["same_inputs"] <= 1
        assert row["sqnr_db"]["fake_quant"] > 30


def test_accuracy_and_agreement_are_measured_on_the_same_images(built):
    report = built.evaluate().report
    assert report["top1"]["tflite"] == 100
    assert report["top1"]["fake_quant"] == report["agreement"]["top1_percent"] > 95
    assert 0 < report["agreement"]["max_lsb"] < 6
    assert report["top1"]["float"] < 90  # the float graph of these tests has other weights


def test_facts_are_the_report_without_latencies_and_equal_for_equal_runs(built):
    first, second = built.evaluate(), built.evaluate()
    assert first.facts == second.facts
    short = {"input", "output", "scaling", "top1", "latency_ms", "latencies_ms"}
    assert first.facts == {key: value for key, value in first.report.items() if key not in short}
    for side, name in (("input", "images"), ("output", "labels"), ("scaling", "images")):
        assert first.report[side] == first.report[f"{side}s"][name]
    top1 = first.report["metrics"]["top1"]
    assert first.report["top1"] == {form: top1[form] for form in ("float", "fake_quant", "tflite")}


def test_an_int8_model_is_measured_on_the_same_bytes(build):
    build.freeze(conv="per_channel", dense="symmetric")
    build.convert("int8_per_channel")
    build.dataset(np.zeros(120))
    report = build.evaluate().report
    assert report["input"]["zero_point"] == 121 - 128
    assert report["agreement"]["top1_percent"] > 95
    assert report["agreement"]["max_lsb"] < 6


def test_the_report_has_the_gates_of_the_conversion_and_those_of_the_spec(built):
    names = [each["name"] for each in built.evaluate(min_top1=99.0).report["gates"]]
    assert names == ["fully integer", "loads", "input", "output", "max_accuracy_drop", "min_top1"]


@pytest.mark.parametrize(
    ("gates", "name"),
    [
        ({"max_accuracy_drop": -100.0}, "max_accuracy_drop"),
        ({"min_top1": 100.5}, "min_top1"),
        ({"min_agreement": 100.5}, "min_agreement"),
    ],
)
def test_a_failed_gate_is_an_error_with_wanted_and_got_and_the_report_is_written(built, gates, name):
    (limit,) = gates.values()
    done = built.evaluate(**gates)
    ((label, value), (_, worst), (_, report)) = done.error.facts
    assert label == name
    assert f"{limit} " in value
    assert ", got " in value
    assert [line.split()[0] for line in worst.splitlines()] == [each["name"] for each in done.report["layers"][:3]]
    assert report == str(done.request.folder / "report.json")
    assert [each["name"] for each in done.report["gates"] if not each["passed"]] == [name]


def test_what_the_file_lost_is_said_with_the_layers_that_compute_what_was_not_trained(build):
    labels = {}
    for seed in (3, 1):  # The float graph of these tests has the weights of the first.
        build.freeze(seed=seed)
        build.convert()
        labels[seed] = np.argmax(run(Model(build.folder / "convert" / "model.tflite"), build.images), axis=1)
    build.freeze(seed=3)
    build.dataset(labels[3])
    done = build.evaluate(max_accuracy_drop=5.0)
    where = dict(done.error.facts)["top1 lost"]
    assert where.startswith("between the quantized graph and the .tflite, which computes something else")
    assert follows('See "LSB, same inputs" of "doit layers": where it is more than 1') in done.error.hint
    assert {each["name"] for each in done.report["layers"] if (each["max_lsb"]["same_inputs"] or 0) > 1} >= {"conv1"}


def test_a_model_better_than_its_float_graph_passes_max_accuracy_drop(built):
    done = built.evaluate(max_accuracy_drop=0.0)
    assert done.report["gates"][-1]["got"] == f"{round(done.report['top1']['float'] - 100, 4)} points"


def test_all_failed_gates_are_one_error(built):
    done = built.evaluate(max_accuracy_drop=-100.0, min_top1=100.5, min_agreement=100.5)
    assert [label for label, _ in done.error.facts] == [
        "max_accuracy_drop", "min_top1", "min_agreement", "worst layers", "report",
    ]  # fmt: skip


def test_of_equal_scores_the_lowest_class_wins():
    task = tasks.make("labels", Output(), facts(columns((8, 8, 1), 4)), {"images": Scaling(0, 1)})
    np.testing.assert_array_equal(task.answers({"labels": np.array([[0, 7, 7, 3], [5, 5, 5, 5]], np.uint8)}), [1, 0])


def test_a_dataset_without_test_images_is_refused(built):
    built.dataset(np.zeros(120), count=0)
    with pytest.raises(DatasetError, match="no test examples"):
        built.evaluate()


def test_fractional_mean_gives_the_model_of_the_nearest_byte_and_is_reported(build):
    reports = []
    build.freeze()
    for mean in (121.0, 120.5):
        facts = build.convert(mean=mean)
        model = (build.folder / "convert" / "model.tflite").read_bytes()
        build.dataset(np.arange(120) % 4)
        made = build.evaluate()
        reports.append((model, facts, {**made.facts, "scalings": None, "warnings": None}))
    assert reports[0] == reports[1]
    assert made.report["scaling"] == {"mean": 120.5, "std_dev": 64.0, "zero_point": 121}
    assert made.report["input"]["zero_point"] == 121
    assert "The mean of the input images is 120.5:" in made.report["warnings"][-1]


def test_test_images_of_one_class_are_reported(built):
    built.dataset(np.full(120, 2))
    assert built.evaluate().report["warnings"] == [
        "All test examples are of one class, c: a network that always answers it reaches 100 %."
    ]
    built.dataset(np.arange(120) % 3)
    (warning,) = built.evaluate().report["warnings"]
    assert warning == "1 of 4 classes have no test examples (d): no figure of the test set is about them."


@pytest.mark.parametrize(("scheme", "kind"), [("uint8", "asymmetric"), ("int8", "symmetric")])
def test_model_whose_softmax_the_reference_kernels_abort_on_is_evaluated(build, scheme, kind):
    options = {"conv": kind, "dense": kind, "classes": 600}
    names = {"frozen_graph.pb": build.network(**options)}
    names["float_graph.pb"] = build.network(conv=None, dense=None, ranges=(), seed=1, classes=600)
    build.published("freeze", {name: path.read_bytes() for name, path in names.items()}, FROZEN_FACTS)
    build.convert(scheme)
    build.dataset(np.arange(120) % 4)
    report = build.evaluate().report
    assert report["runtimes"]["xnnpack"] == ""
    assert report["runtimes"]["reference"].startswith("cannot compute Predictions (SOFTMAX over 600 values)")
    assert report["runtimes"]["reference"] in report["warnings"][-1]
    assert report["runtimes"]["reference"] in next(each for each in report["gates"] if each["name"] == "loads")["got"]
    operators = {row["position"]: row["operator"] for row in report["layers"]}
    assert [operators[place] for place in sorted(operators)] == [*FLATTENED, "FULLY_CONNECTED"]
    assert all(row["max_lsb"]["same_inputs"] <= 1 for row in report["layers"])


def test_the_evaluation_in_small_batches_gives_the_facts_of_the_whole(built, monkeypatch):
    whole = built.evaluate().facts
    monkeypatch.setattr(measuring, "_MOST_EXAMPLES", 7)
    assert built.evaluate().facts == whole


def counted(calls, function):
    def call(argument):
        calls.append(function.__name__)
        return function(argument)

    return call


def test_an_evaluation_imports_each_graph_once_and_reads_the_file_once(built, monkeypatch):
    calls: list[str] = []
    for module, name in ((graph_outputs, "imported"), (inspect, "load")):
        monkeypatch.setattr(module, name, counted(calls, getattr(module, name)))
    built.evaluate()
    assert Counter(calls) == {"imported": 4, "load": 1}  # in float and fake-quantized; both again, cut into layers


def test_fewer_examples_of_a_network_with_large_activations_are_run_together(built, monkeypatch):
    request = built.evaluate().request
    model = inspect.read(request.inputs["convert"].manifest.file("model.tflite"))
    assert measuring.batch_size(model) == 250
    values = 64 + 8 * 64 + 8 * 16 + 8 * 16 + 128 + 4 + 4  # the input, and what each operator computes
    monkeypatch.setattr(measuring, "_BATCH_BYTES", 10 * 4 * values)
    assert measuring.batch_size(model) == 10
    monkeypatch.setattr(measuring, "_BATCH_BYTES", 1)
    assert measuring.batch_size(model) == 1


def test_a_model_that_always_gives_one_answer_is_reported_unless_the_test_set_has_no_other(build):
    build.freeze()
    build.convert()
    build.images = np.repeat(build.images[:1], 120, axis=0)
    said = "every test example the same class"
    for labels, warned in ((np.arange(120) % 4, True), (np.full(120, 2), False)):
        build.dataset(labels)
        assert any(said in text for text in build.evaluate().report["warnings"]) == warned
    build.images = np.random.default_rng(5).integers(0, 256, build.images.shape, np.uint8)
    build.dataset(np.arange(120) % 4)
    assert not any(said in text for text in build.evaluate().report["warnings"])
