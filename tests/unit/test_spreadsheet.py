"""All models as CSV."""

from __future__ import annotations

import csv
import io

from qatbuild.report.failures import Failure
from qatbuild.report.models import ModelReport
from qatbuild.report.spreadsheet import COLUMNS, as_csv
from tests.unit.test_report import report

MAE = {"mae": {"float": 0.5, "fake_quant": 0.25, "tflite": 0.125}}


def rows(*models: ModelReport) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(models), newline="")))


def test_models_of_other_metrics_share_a_file_and_leave_cells_empty() -> None:
    classifier = ModelReport("a", report("a"), (), {})
    regressor = ModelReport("b", report("b", metrics=MAE, latency_ms={"median": 0.5}), (), {})
    one, other = rows(classifier, regressor)
    assert [*one] == [*COLUMNS, *(f"{name}.{form}" for name in ("top1", "mae") for form in MAE["mae"])]
    assert (one["top1.float"], one["mae.float"], one["latency_ms"]) == ("90.0", "", "")
    assert (other["top1.float"], other["mae.tflite"], other["latency_ms"]) == ("", "0.125", "0.5")
    assert (other["bytes"], other["ratio"], other["max_lsb"]) == ("100", "4.0", "2")


def test_a_failure_has_a_row_whose_text_is_one_cell() -> None:
    failed = ModelReport("net", None, (), {"float": Failure("net", "float", "", stale='of "an", earlier\nmodel')})
    (row,) = rows(failed)
    assert (row["passed"], row["verdict"], row["bytes"]) == ("false", "stale: float", "")


def test_lines_end_as_the_standard_wants() -> None:
    assert as_csv([]) == ",".join(COLUMNS) + "\r\n"
