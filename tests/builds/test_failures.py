"""Failing builds: finished stages are kept, nothing is half written, the error is one block."""

from __future__ import annotations

import json

import pytest

from tests.builds.conftest import SPEC, ToyProject
from tests.hints import follows


def test_failed_stage_is_one_block_without_traceback(toy: ToyProject) -> None:
    (toy.root / "broken.txt").write_text("quantize fail")
    done = toy.doit()
    assert done.returncode == 1
    assert "net:quantize FAILED" in done.stdout
    assert "hint: remove broken.txt" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_after_a_failure_only_the_rest_runs(toy: ToyProject) -> None:
    (toy.root / "broken.txt").write_text("quantize fail")
    toy.doit()
    toy.runs()
    (toy.root / "broken.txt").unlink()
    assert "float" not in (ran := toy.built())
    assert "quantize" in ran


def test_the_rest_of_the_build_goes_on_with_c(toy: ToyProject) -> None:
    toy.spec("other", quantize={"steps": 7})
    (toy.root / "broken.txt").write_text("quantize fail")
    done = toy.doit("-c")
    assert done.returncode != 0
    assert toy.runs().count("quantize") == 2
    assert "net:freeze: not built" in done.stdout


def test_killed_build_keeps_finished_stages(toy: ToyProject) -> None:
    (toy.root / "broken.txt").write_text("quantize crash")
    assert toy.doit().returncode == 137
    assert toy.runs()[-1] == "quantize"
    (toy.root / "broken.txt").unlink()
    ran = toy.built()
    assert "dataset" not in ran
    assert "float" not in ran


def test_source_that_changes_underway_is_not_recorded(toy: ToyProject) -> None:
    (toy.root / "broken.txt").write_text("dataset change-source")
    done = toy.doit()
    assert done.returncode == 1
    assert "changed while it ran" in done.stdout
    assert not list(toy.root.glob("build/shared/dataset-*/dataset.manifest.json"))
    assert follows("run doit again") in done.stdout
    (toy.root / "broken.txt").unlink()
    assert toy.built()


def test_refused_model_is_left_to_look_at_and_not_built(toy: ToyProject) -> None:
    (toy.root / "broken.txt").write_text("evaluate refuse")
    done = toy.doit()
    assert done.returncode == 1
    assert "The toy model is refused." in done.stdout
    assert (toy.root / "build/net/report.json").is_file()
    assert (toy.root / "build/net/model.tflite").is_file()
    toy.runs()
    (toy.root / "broken.txt").unlink()
    assert toy.built() == ["evaluate"]


def test_build_folder_that_is_a_file_is_one_error(toy: ToyProject) -> None:
    (toy.root / "build").write_text("in the way")
    done = toy.doit()
    assert done.returncode == 3
    assert "The build folder cannot be created" in done.stderr
    assert follows("make it writable, or set [tool.qatbuild] build to another") in " ".join(done.stderr.split())
    settings = toy.root / "pyproject.toml"
    settings.write_text(f'{settings.read_text()}build = "elsewhere"\n')
    assert toy.doit("net:dataset").returncode == 0
    assert "Traceback" not in done.stderr


def test_build_folder_that_tensorflow_takes_for_a_pattern_is_one_error(toy: ToyProject) -> None:
    (toy.root / "pyproject.toml").write_text('[tool.qatbuild]\nbuild = "[2026] models"\n')
    done = toy.doit()
    assert done.returncode == 3
    assert "The build folder's path has characters that TensorFlow reads as a pattern." in done.stderr
    assert not (toy.root / "[2026] models").exists()
    assert f"hint: {follows('set [tool.qatbuild] build to another folder')}" in done.stderr
    (toy.root / "pyproject.toml").write_text('[tool.qatbuild]\nbuild = "models 2026"\n')
    assert toy.doit("net:dataset").returncode == 0


def test_spec_with_faults_fails_alone(toy: ToyProject) -> None:
    (toy.root / "specs/bad.json").write_text(json.dumps({**SPEC, "trian": {}}))
    assert toy.doit("net").returncode == 0
    done = toy.doit("bad")
    assert done.returncode == 1
    assert '/trian  unknown field. Did you mean "train"?' in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_plain_doit_fails_on_a_default_spec_with_faults(toy: ToyProject) -> None:
    (toy.root / "specs/bad.json").write_text("{")
    assert toy.doit().returncode == 1


def test_unknown_project_setting_is_named(toy: ToyProject) -> None:
    (toy.root / "pyproject.toml").write_text("[tool.qatbuild]\ndefaults = []\n")
    done = toy.doit()
    assert done.returncode == 3
    assert "tool.qatbuild.defaults" in done.stderr


@pytest.mark.parametrize(("name", "task"), [("shared", "shared_"), ("a b", "a_b"), ("a=b", "a_b"), ("list", "list_")])
def test_spec_name_that_makes_no_label_fails_alone(toy: ToyProject, name: str, task: str) -> None:
    toy.spec(name)
    assert toy.doit("net").returncode == 0
    done = toy.doit("run", task)
    assert done.returncode == 1
    assert "cannot be named" in done.stdout


def test_input_that_is_edited_while_a_stage_reads_it_is_not_recorded(toy: ToyProject) -> None:
    (toy.root / "broken.txt").write_text("freeze change-input")
    assert "changed while it ran" in toy.doit().stdout
    toy.runs()
    (toy.root / "broken.txt").unlink()
    ran = toy.built()
    assert {"quantize", "freeze"} <= set(ran)


def test_lost_state_of_doit_counts_as_up_to_date(toy: ToyProject) -> None:
    toy.built()
    (toy.root / "build/.qatbuild/doit.db").unlink()
    toy.runs()
    assert toy.doit().stdout.startswith("8 up to date")
    assert toy.runs() == []


def test_table_shows_no_report_of_a_former_build_for_one_that_crashed(toy: ToyProject) -> None:
    toy.built()
    (toy.root / "broken.txt").write_text("evaluate fail")
    toy.spec("net", evaluate={"min_top1": 3})
    done = toy.doit()
    assert done.returncode == 1
    assert "gates" not in done.stdout


def test_spec_with_faults_is_reported_once(toy: ToyProject) -> None:
    toy.spec("bad", trian={})
    done = toy.doit("-c")
    assert (done.stdout + done.stderr).count("unknown field") == 1
    assert "evaluate" in toy.runs()


def test_default_that_no_spec_has_is_named_with_the_nearest(toy: ToyProject) -> None:
    (toy.root / "pyproject.toml").write_text('[tool.qatbuild]\ndefault = ["nett"]\n')
    done = toy.doit()
    assert done.returncode == 3
    assert 'Did you mean "net"?' in done.stderr
    assert "Traceback" not in done.stderr


def test_project_without_specs_says_where_they_would_be(toy: ToyProject) -> None:
    (toy.root / "specs/net.json").unlink()
    done = toy.doit()
    assert done.returncode == 3
    assert "The project has no specs" in done.stderr
