"""Models as runs of MLflow, read back by MLflow's own client."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from qatbuild.exchange.errors import ArtifactError
from qatbuild.report.mlflow_runs import Run, write
from qatbuild.report.models import ModelReport
from tests.hints import follows
from tests.page.project import Net, built
from tests.unit.test_report import gate, report

SPEC = {"train": {"steps": 100, "learning_rate": {"initial": 0.1}}, "quantize": {"scheme": "int8", "fold": None}}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the settings of MLflow as they were after a test."""
    for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def run_of(folder: Path, label: str = "net", **more: Any) -> Run:
    file = folder / f"{label}.json"
    fields = report(label, latency_ms={"median": 0.25}, **more)
    file.write_text(json.dumps(fields))
    return Run(ModelReport(label, fields, (), {}), SPEC, file)


def runs(folder: Path) -> list[Any]:
    """The runs of the experiment, the newest first, read by the real client."""
    client = MlflowClient(folder.as_uri())
    experiment = client.get_experiment_by_name("networks")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_a_run_has_the_figures_the_spec_and_the_report(tmp_path: Path) -> None:
    store = tmp_path / "mlruns"
    assert write([run_of(tmp_path)], str(store), "networks") == ["net"]
    (run,) = runs(store)
    assert run.data.metrics == {
        "top1.float": 90.0,
        "top1.fake_quant": 89.5,
        "top1.tflite": 89.25,
        "agreement_percent": 99.5,
        "bytes": 100.0,
        "latency_ms": 0.25,
        "gates_refused": 0.0,
    }
    assert run.data.params == {"train.steps": "100", "train.learning_rate.initial": "0.1", "quantize.scheme": "int8"}
    assert (run.info.run_name, run.data.tags["qatbuild.label"]) == ("net", "net")
    assert (run.data.tags["qatbuild.passed"], run.info.status) == ("true", "FINISHED")
    (artifact,) = store.rglob("artifacts/*")
    assert json.loads(artifact.read_text())["label"] == "net"


def test_the_curves_of_the_trainings_are_metrics_with_steps(tmp_path: Path) -> None:
    (net,) = built(tmp_path / "build", {"net": Net()})
    assert net.home is not None
    store = tmp_path / "mlruns"
    assert write([Run(net, SPEC, net.home / "report.json")], str(store), "networks") == ["net"]
    (run,) = runs(store)
    client = MlflowClient(store.as_uri())
    points = {
        name: [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)]
        for name in ("float.loss", "float.learning_rate", "float.validation_top1", "bytes")
    }
    assert points == {
        "float.loss": [(10, 2.0), (500, 0.5), (1000, 0.1)],
        "float.learning_rate": [(10, 0.1), (500, 0.05), (1000, 0.001)],
        "float.validation_top1": [(500, 80.0), (1000, 91.0)],
        "bytes": [(0, 40_000.0)],
    }


def test_the_same_result_is_written_once_and_another_one_beside_it(tmp_path: Path) -> None:
    store = str(tmp_path / "mlruns")
    first = run_of(tmp_path)
    assert write([first], store, "networks") == ["net"]
    assert write([first, run_of(tmp_path, "other")], store, "networks") == ["other"]
    assert write([run_of(tmp_path, gates=[gate("min_top1", passed=False)])], store, "networks") == ["net"]
    refused = {(each.info.run_name, each.data.metrics["gates_refused"]) for each in runs(tmp_path / "mlruns")}
    assert refused == {("net", 0.0), ("other", 0.0), ("net", 1.0)}


def test_a_run_whose_writing_was_interrupted_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    store = tmp_path / "mlruns"
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write([run_of(tmp_path)], str(store), "networks")
    assert [each.info.status for each in runs(store)] == ["RUNNING"]
    assert write([run_of(tmp_path)], str(store), "networks") == ["net"]
    assert [each.info.status for each in runs(store)] == ["FINISHED"]
    assert write([run_of(tmp_path)], str(store), "networks") == []


def test_a_spec_of_more_fields_than_mlflow_takes_at_once_and_names_of_other_characters_are_written(
    tmp_path: Path,
) -> None:
    spec = {"model": {f"field_{number}": "x" * 9_000 for number in range(250)}}
    metrics = {"top@1 (%)": {"float": 1.0, "fake_quant": 1.0, "tflite": 1.0}}
    write([run_of(tmp_path, metrics=metrics)._replace(spec=spec)], str(tmp_path / "mlruns"), "networks")
    (run,) = runs(tmp_path / "mlruns")
    assert len(run.data.params) == 250
    assert max(map(len, run.data.params.values())) < 510
    assert run.data.metrics["top_1 ___.tflite"] == 1.0


def test_a_server_that_does_not_answer_is_one_error_and_a_folder_is_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="MLflow cannot write the runs") as raised:
        write([run_of(tmp_path)], "http://127.0.0.1:9/", "networks")
    assert follows("name a folder, or the URI of a tracking server that answers") in raised.value.hint
    assert write([run_of(tmp_path)], str(tmp_path / "mlruns"), "networks") == ["net"]


def test_without_the_extra_its_installation_is_the_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(ArtifactError) as raised:
        write([], str(tmp_path), "networks")
    assert raised.value.hint == "pip install 'qatbuild[mlflow]'"
