"""A build with nothing to do checks the states of files and reads no spec, and still notices every edit."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from qatbuild.engine.up_to_date_record import Record
from tests.architecture.test_contracts import imported
from tests.builds.conftest import REPOSITORY, SPEC, ToyProject
from tests.page.reading import block, shown

BUILT = {"dataset", "check", "float", "quantize", "export", "freeze", "convert", "evaluate"}


@pytest.fixture
def settled(toy: ToyProject) -> ToyProject:
    """Two specs, one of them with a network of the user's, built twice."""
    (toy.root / "net.py").write_text("def build(images, classes, *, training):\n    return images\n")
    (toy.root / "specs/_base.json").write_text(json.dumps({"train": {"steps": 100}}))
    toy.spec("own", model={"call": "net:build"}, extends="_base.json")
    toy.built()
    toy.built()
    assert recorded(toy) == {"net", "own"}
    return toy


def recorded(toy: ToyProject) -> set[str]:
    """The specs that the next build will not load if nothing changes."""
    file = toy.root / "build/.qatbuild/record"
    record = Record.load(file, json.loads(file.read_bytes().partition(b"\n")[0])["environment"])
    assert record is not None
    return set(record.specs)


def test_up_to_date_build_reads_no_spec(settled: ToyProject) -> None:
    assert not {"jsonschema", "tensorflow", "numpy", "sqlite3"} & imported("doit", cwd=settled.root)
    assert settled.doit().stdout.startswith("15 up to date")


def test_one_edited_spec_is_loaded_alone_and_all_are_counted(settled: ToyProject) -> None:
    settled.spec("net", evaluate={"min_top1": 50})
    done = settled.doit()
    assert settled.runs() == ["evaluate"]
    assert "1 built, 14 up to date" in done.stdout
    assert settled.built() == []


def rewritten(path: Path, data: bytes) -> None:
    """Write in place and put the mtime back."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_edits_that_keep_the_mtime_are_seen(settled: ToyProject) -> None:
    model = settled.root / "build/net/model.tflite"
    whole = model.read_bytes()
    rewritten(model, whole[:10])
    assert settled.built() == ["convert"]
    assert model.read_bytes() == whole
    rewritten(settled.root / "specs/data.bin", b"others")
    assert "dataset" in settled.built()
    settled.built()
    network = settled.root / "net.py"
    rewritten(network, network.read_bytes().replace(b"return images", b"return -images"))
    assert "float" in settled.built()


def test_a_new_shared_input_rebuilds_other_labels_in_later_builds(settled: ToyProject) -> None:
    (settled.root / "specs/data.bin").write_text("others")
    assert "dataset" in settled.built("net")
    assert recorded(settled) == {"net"}
    assert "evaluate" in settled.built("own")


@pytest.mark.parametrize("how", ["edited", "removed"])
def test_changed_request_record_is_detected(settled: ToyProject, how: str) -> None:
    request = settled.root / "build/net/convert.request.json"
    if how == "removed":
        request.unlink()
    else:
        rewritten(request, request.read_bytes().replace(b'"mean": 121', b'"mean": 120'))
    explained = settled.doit("explain", "net").stdout
    assert ("not built yet" if how == "removed" else "inputs.images.mean: 120.0 -> 121.0") in explained
    assert settled.built() == ["convert"]
    assert settled.built() == []


def test_a_file_that_a_spec_extends_is_checked(settled: ToyProject) -> None:
    (settled.root / "specs/_base.json").write_text(json.dumps({"evaluate": {"min_top1": 9}}))
    assert settled.built() == ["evaluate"]


def test_new_and_removed_specs_are_seen(settled: ToyProject) -> None:
    settled.spec("third", evaluate={"min_top1": 7})
    assert set(settled.built()) >= {"export", "evaluate"}
    (settled.root / "specs/third.json").unlink()
    assert settled.built() == []
    assert settled.doit("third").returncode == 3
    assert settled.doit().stdout.startswith("15 up to date")


def test_a_module_that_shadows_an_installed_one_is_seen(settled: ToyProject) -> None:
    (settled.root / "tensorflow.py").write_text("VALUE = 1\n")
    assert "float" in settled.built()


def test_settings_and_visible_devices_make_stages_stale(settled: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    (settled.root / "pyproject.toml").write_text("[tool.qatbuild]\nstore = false\nthreads = 7\n")
    assert "float" in settled.built()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert "float" in settled.built()


def test_names_on_the_command_line_load_no_more_than_they_need(settled: ToyProject) -> None:
    assert settled.doit("net").stdout.startswith("8 up to date")
    assert settled.doit("net", "own:float").returncode == 0
    assert settled.doit("net:float", "own").stdout.startswith("15 up to date") or settled.runs() == []
    done = settled.doit("nett")
    assert done.returncode == 3
    assert "nett" in done.stderr


def test_always_execute_runs_stages_that_are_up_to_date(settled: ToyProject) -> None:
    assert set(settled.built("-a", "net")) == BUILT
    assert settled.built() == []


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_a_broken_record_is_ignored(settled: ToyProject, keep: int) -> None:
    record = settled.root / "build/.qatbuild/record"
    record.write_bytes(record.read_bytes()[:keep])
    assert settled.doit().stdout.startswith("15 up to date")
    assert settled.runs() == []
    assert recorded(settled) == {"net", "own"}


def test_spec_with_faults_is_loaded_every_time(settled: ToyProject) -> None:
    (settled.root / "specs/bad.json").write_text(json.dumps({**SPEC, "trian": {}}))
    for _ in range(2):
        done = settled.doit("-c")
        assert done.returncode != 0
        assert "unknown field" in done.stdout
        assert "15 up to date" in done.stdout


def test_clean_and_forget_are_not_undone_by_the_record(settled: ToyProject) -> None:
    assert settled.doit("clean", "net").returncode == 0
    settled.doit()
    assert (settled.root / "build/net/model.tflite").is_file()
    assert settled.doit("forget", "net").returncode == 0
    settled.runs()
    assert settled.built() == ["export", "freeze", "convert", "evaluate"]


def test_state_is_readable_by_doit_s_other_commands_and_survives_garbage(settled: ToyProject) -> None:
    assert settled.doit("info", "net:convert").returncode == 0
    state = settled.root / "build/.qatbuild/doit.db"
    (mode,) = sqlite3.connect(state).execute("pragma journal_mode").fetchone()
    assert mode == "wal"
    state.write_text("no database at all, " * 500)
    settled.spec("net", evaluate={"min_top1": 51})
    assert settled.built() == ["evaluate"]


def test_second_build_waits_and_names_the_process_and_readers_do_not_wait(toy: ToyProject) -> None:
    with toy.taken() as holder:
        second = toy.started()
        assert second.stderr is not None
        assert f"waiting for another build of this folder: process {holder}, -c" in second.stderr.readline()
        assert toy.doit("list").returncode == 0
        assert toy.runs() == []
    second.communicate()
    assert second.returncode == 0
    assert "evaluate" in toy.runs()


@pytest.mark.parametrize("between", [[], [("own",)]])
def test_page_does_not_show_a_report_that_was_edited_while_other_models_were_built(
    settled: ToyProject, between: list[tuple[str, ...]]
) -> None:
    page = settled.root / "build/report.html"
    settled.spec("own", model={"call": "net:build"}, evaluate={"min_top1": 50})
    settled.built()  # From here on the pages' memory and the record belong together.
    settled.built()
    report = settled.root / "build/net/report.json"
    report.write_text(report.read_text().replace('"tflite": 89.4', '"tflite": 12.3'))
    for names in between:
        assert settled.built(*names) == []
    settled.spec("own", model={"call": "net:build"}, evaluate={"min_top1": 60})
    assert settled.built("own") == ["evaluate"]
    assert "12.3" not in block(page.read_text())
    assert "evaluate is stale: report.json was edited" in block(page.read_text())
    assert settled.built() == ["evaluate"]
    assert "stale" not in block(page.read_text())


def test_reports_of_models_that_did_not_change_are_not_looked_at(settled: ToyProject) -> None:
    def looked_at() -> set[str]:
        settled.spec("own", model={"call": "net:build"}, evaluate={"min_top1": next(wanted)})
        code = (
            "import runpy, sys; from qatbuild.report import pages; state = pages._state\n"
            "def logged(build, label, *rest): print('LOOKED', label); return state(build, label, *rest)\n"
            "pages._state, sys.argv = logged, ['doit']; runpy.run_module('doit', run_name='__main__', alter_sys=True)"
        )
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", code]
        said = subprocess.run(command, cwd=settled.root, env=environment, capture_output=True, check=True)
        return {line.split()[1] for line in said.stdout.decode().splitlines() if line.startswith("LOOKED")}

    wanted = iter(range(50, 60))
    (settled.root / "build/.qatbuild/pages").unlink()
    assert looked_at() == {"net", "own"}
    settled.built()
    settled.built()
    assert looked_at() == {"own"}


def test_order_of_the_page_does_not_depend_on_the_specs_that_a_build_loaded(settled: ToyProject) -> None:
    page = settled.root / "build/report.html"
    for name in ("net", "own"):
        settled.spec(name, evaluate={"min_top1": 50}, **({"model": {"call": "net:build"}} if name == "own" else {}))
        assert settled.built(name) == ["evaluate"]
        assert [model["label"] for model in shown(page)] == ["net", "own"]
