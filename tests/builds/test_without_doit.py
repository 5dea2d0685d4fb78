"""`engine.build.build` does without doit what `doit` does: the same bytes, records, pages and errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.build import build as build_here
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import SpecError
from tests.builds.conftest import REPOSITORY, ToyProject
from tests.builds.test_fast_path import recorded
from tests.builds.test_side_by_side import artifacts
from tests.builds.toolchain import ToyExecutor
from tests.page.reading import without_clocks

PROGRAM = """
import json, sys
from pathlib import Path
from qatbuild.engine.build import build
from qatbuild.engine.project import Project
from tests.builds.toolchain import ToyExecutor
from tests.page.reading import without_clocks

labels, options = json.loads(sys.argv[1])
result = build(Project.prepared(Path.cwd()), labels, executor=ToyExecutor(), say=sys.stdout.write, **options)
assert "doit" not in sys.modules
assert "tensorflow" not in sys.modules
rows = [[row.stage.labels[0], row.stage.name, row.fate, row.error] for row in result.outcomes.rows]
errors = {name: error.message for name, error in result.errors.items()}
print("RESULT", json.dumps({"ok": result.ok, "rows": rows, "errors": errors, "unloaded": result.outcomes.unloaded}))
"""


def build(toy: ToyProject, *labels: str, **options: Any) -> tuple[dict[str, Any], str]:
    """Builds labels in a process without doit: (the result, what it printed)."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", PROGRAM, json.dumps([labels, options])]
    done = subprocess.run(command, cwd=toy.root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text, _, result = done.stdout.rpartition("RESULT ")
    return json.loads(result), text


def fates(result: dict[str, Any]) -> dict[str, str]:
    return {f"{label}:{stage}": fate for label, stage, fate, _ in result["rows"]}


def test_leaves_the_bytes_the_record_and_the_pages_of_doit(toy: ToyProject) -> None:
    toy.spec("net", deploy={"litert": {}})
    result, printed = build(toy)
    assert result["ok"]
    assert set(fates(result).values()) == {"built"}
    for text in (".  net:dataset: not built yet", "build/report.html", "build/net/model.tflite"):
        assert text in printed
    toy.runs()
    without_doit, pages = artifacts(toy.root), without_clocks(toy.root / "build/report.html")
    assert toy.doit().stdout.startswith("9 up to date")
    assert recorded(toy) == {"net"}
    assert toy.runs() == []
    assert toy.doit("clean").returncode == 0
    toy.built()
    assert artifacts(toy.root) == without_doit
    assert without_clocks(toy.root / "build/report.html") == pages


def test_runs_stale_stages_in_order_and_counts_those_that_were_not_loaded(toy: ToyProject) -> None:
    toy.built()
    build(toy)
    result, printed = build(toy)
    assert result == {"ok": True, "rows": [], "errors": {}, "unloaded": 8}
    toy.runs()
    toy.spec("net", convert={"checkpoint": 8})
    result, printed = build(toy, "net")
    assert toy.runs() == ["freeze", "convert", "evaluate"]
    assert list(fates(result).values()) == ["up to date"] * 5 + ["built"] * 3
    assert "net:freeze: convert.checkpoint: " in printed


def test_a_stage_after_a_failure_is_not_built_and_the_rest_is(toy: ToyProject) -> None:
    toy.spec("other", quantize={"steps": 7})
    (toy.root / "broken.txt").write_text("quantize fail")
    result, printed = build(toy)
    assert not result["ok"]
    got = fates(result)
    assert (got["net:float"], got["net:quantize"], got["net:freeze"]) == ("built", "failed", "not built")
    assert got["other:export"] == "built"
    assert "net:quantize FAILED" in printed
    assert "!  net:freeze: not built: a stage it depends on failed" in printed
    assert '<skipped message="not built: a stage it depends on failed"' in (toy.root / "build/junit.xml").read_text()
    result, _ = build(toy, keep_going=False)
    assert [fate for *_, fate, _ in result["rows"]][-1] == "failed"
    (toy.root / "broken.txt").unlink()
    assert build(toy)[0]["ok"]
    assert "skipped message" not in (toy.root / "build/junit.xml").read_text()


def test_a_refused_model_keeps_its_report_and_is_not_deployed(toy: ToyProject) -> None:
    toy.spec("net", deploy={"litert": {}})
    (toy.root / "broken.txt").write_text("evaluate refuse")
    result, _ = build(toy)
    got = fates(result)
    assert (got["net:evaluate"], got["net:deploy.litert"]) == ("refused", "not built")
    assert (toy.root / "build/net/report.json").is_file()


def test_a_spec_with_faults_is_an_error_of_its_own(toy: ToyProject) -> None:
    (toy.root / "specs/bad.json").write_text("{")
    result, _ = build(toy)
    assert result["errors"] == {"bad": "A spec is not JSON."}
    assert not result["ok"]
    assert fates(result)["net:evaluate"] == "built"


def test_labels_stages_and_always_select_what_runs(toy: ToyProject) -> None:
    toy.spec("net", variants={"short": {"quantize": {"steps": 7}}, "long": {"quantize": {"steps": 70}}})
    build(toy, "net@short:float")
    assert toy.runs() == ["dataset", "check", "float"]
    build(toy, "net@long")
    assert "float" not in toy.runs()
    build(toy, "net@long:freeze", always=True)
    assert toy.runs() == ["dataset", "check", "export", "float", "quantize", "freeze"]


def test_results_are_restored_from_the_store(toy: ToyProject) -> None:
    (toy.root / "pyproject.toml").unlink()
    build(toy)
    toy.spec("net", evaluate={"min_top1": 50})
    build(toy)
    toy.spec("net")
    result, printed = build(toy)
    assert fates(result)["net:evaluate"] == "restored"
    assert "<  net:evaluate: evaluate.min_top1: 50 -> null (restored)" in printed


def test_waits_for_the_build_of_another_process(toy: ToyProject) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", PROGRAM, "[[], {}]"]
    with toy.taken() as holder:
        waiting = subprocess.Popen(command, cwd=toy.root, env=environment, stderr=subprocess.PIPE, text=True)
        assert waiting.stderr is not None
        assert f"waiting for another build of this folder: process {holder}" in waiting.stderr.readline()
        assert toy.runs() == []
    waiting.communicate()
    assert waiting.returncode == 0
    assert "evaluate" in toy.runs()


def test_a_build_from_another_working_directory_leaves_the_record_alone(toy: ToyProject) -> None:
    for fate in ("built", "up to date"):
        result = build_here(Project.prepared(toy.root), executor=ToyExecutor())
        assert {row.fate for row in result.outcomes.rows} == {fate}
        assert not (toy.root / "build/.qatbuild/record").exists()


def test_an_unknown_label_is_a_spec_error_with_the_nearest_name(toy: ToyProject) -> None:
    with pytest.raises(SpecError, match=re.escape('There is no label "nett". Did you mean "net"?')):
        build_here(Project.prepared(toy.root), ["nett"], executor=ToyExecutor())


@pytest.mark.slow
def test_a_real_model_is_built_without_doit(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from qatbuild.engine.build import build\n"
        "from qatbuild.engine.project import Project\n"
        "result = build(Project.prepared(Path.cwd()), ['digits'])\n"
        "assert 'doit' not in sys.modules\n"
        "assert result.ok, [row.error for row in result.outcomes.rows]\n"
    )
    (tmp_path / "specs").mkdir()
    spec = json.loads((REPOSITORY / "specs/digits.json").read_text())
    (tmp_path / "specs/digits.json").write_text(json.dumps(spec))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "build/digits/model.tflite").stat().st_size > 0
