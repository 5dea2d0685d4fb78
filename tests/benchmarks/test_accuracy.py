"""The table of accuracies agrees with the reports."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.accuracy import gathered, main, markdown
from tests.benchmarks.measure import FailedRunError

SPEC = {
    "dataset": {"name": "digits"},
    "input": {"mean": 0, "std_dev": 16},
    "model": {"name": "digitsnet"},
    "train": {"steps": 10, "learning_rate": {"initial": 0.1}},
    "quantize": {"steps": 5},
    "matrix": {"train.seed": [1, 2, 3]},
}


@pytest.fixture
def project(tmp_path):
    (tmp_path / "dodo.py").write_text(
        "from qatbuild.plugin import door\n\nDOIT_CONFIG, task_specs = door(__file__)\n", encoding="utf-8"
    )
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/net.json").write_text(json.dumps(SPEC), encoding="utf-8")
    for seed, top1 in ((1, 86.0), (2, 87.0), (3, 88.0)):
        folder = tmp_path / f"build/net@seed-{seed}"
        folder.mkdir(parents=True)
        report = {
            "label": folder.name,
            "examples": 1000,
            "top1": {"float": top1 + 1, "fake_quant": top1, "tflite": top1},
            "agreement": {"top1_percent": 99.5, "max_lsb": 2.0},
            "bytes": {"tflite": 1234, "ratio": 3.99},
            "latencies_ms": [
                {"numbers": numbers, "kernels": kernels, "threads": 1, "median": median, "p95": median}
                for numbers, kernels, median in (
                    ("uint8", "xnnpack", 0.5), ("uint8", "builtin", 0.75),
                    ("float32", "xnnpack", 2.0), ("float32", "builtin", 3.0),
                )
            ],
            "gates": [],
        }  # fmt: skip
        (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
        request = {"threads": 2, "toolchain": {"tensorflow": "2.21.0"}}
        (folder / "evaluate.request.json").write_text(json.dumps(request), encoding="utf-8")
    return tmp_path


def test_a_row_is_a_report_and_models_that_differ_in_their_seed_have_one_of_mean_and_deviation(project):
    result = gathered(project, ["net"])
    lines = markdown(result).splitlines()
    assert lines[2] == "| net@seed-1 | 1 | 87.00 | 86.00 | 86.00 | 99.50 | 1,234 | 3.990 | 0.500 | 2.000 |"
    assert lines[5].startswith("| net@seed-*: mean ± standard deviation | 1, 2, 3 | 88.00 ± 1.00 | 87.00 ± 1.00 |")
    assert [len(line.split("|")) for line in lines[:6]] == [12] * 6
    assert all(part in lines[-1] for part in ("1,000 test images", "2 threads", "tensorflow 2.21.0"))


def test_single_models_can_be_named_by_their_labels(project):
    result = gathered(project, ["net@seed-2", "net@seed-3"])
    assert [row["label"] for row in result["rows"]] == ["net@seed-2", "net@seed-3"]
    assert result["seeds"][0]["seeds"] == [2, 3]


def test_images_that_a_list_calls_jpeg_decoded_are_named(project):
    spec = {**SPEC, "dataset": {"name": "npz", "path": "data.npz"}}
    (project / "specs/net.json").write_text(json.dumps(spec), encoding="utf-8")
    (project / "specs/data.npz").touch()
    (project / "specs/lossy_indices.json").write_text('{"test": [3, 5]}', encoding="utf-8")
    assert "1,000 test images, 2 of which are JPEG-decoded" in markdown(gathered(project, ["net"]))


def test_reports_of_models_that_are_not_up_to_date_are_refused_and_nothing_is_written(project):
    with pytest.raises(FailedRunError, match=r"not up to date .*doit net"):
        main(["--project", str(project), "--models", "net", "--out", str(project / "table")])
    assert not list(project.glob("table*"))
