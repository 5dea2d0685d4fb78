"""`doit report`: what is known of built models, in the formats of people and of other tools."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.builds.conftest import SPEC, ToyProject, toy_at
from tests.builds.test_affected import git
from tests.hints import follows
from tests.page.reading import block
from tests.unit.test_layer_table import row

BETTER = {"metrics": {"top1": {"float": 92.0, "fake_quant": 91.5, "tflite": 91.4, "better": "higher", "percent": True}}}
LAYERS = [{**row("conv1", "CONV_2D"), "position": 0}]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> ToyProject:
    """Two models, of which `dense7` is better and has a route; and one that was never built. Not to touch."""
    toy = toy_at(tmp_path_factory.mktemp("report") / "project")
    toy.spec("dense7", train={**SPEC["train"], "steps": 200}, deploy={"litert": {}})
    toy.built("net")
    (toy.root / "report.json").write_text(json.dumps({**BETTER, "layers": LAYERS}))
    toy.built("dense7")
    toy.spec("later", train={**SPEC["train"], "steps": 7})
    return toy


def report(toy: ToyProject, *arguments: str) -> str:
    """What `doit report` prints."""
    done = toy.doit("report", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(toy: ToyProject, *arguments: str) -> str:
    """The one error of `doit report`."""
    done = toy.doit("report", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_each_format_has_the_models_that_were_built(two: ToyProject) -> None:
    models = json.loads(report(two, "--format", "json"))["models"]
    assert [model["label"] for model in models] == ["dense7", "net"]
    assert [model["passed"] for model in models] == [True, True]
    assert models[0]["routes"][0]["route"] == "litert"
    rows = list(csv.DictReader(io.StringIO(report(two, "--format", "csv"))))
    assert [(each["label"], each["top1.tflite"], each["passed"]) for each in rows] == [
        ("dense7", "91.4", "true"),
        ("net", "89.4", "true"),
    ]
    assert "| `dense7` | top1 | 92.00 | 91.50 | 91.40 | 99.50 | 100 |" in report(two, "--format", "markdown")
    suites = ET.fromstring(report(two, "--format", "junit"))
    assert [suite.attrib["name"] for suite in suites] == ["dense7", "net"]


def test_the_page_goes_to_the_build_folder_and_what_is_named_to_its_file(two: ToyProject, tmp_path: Path) -> None:
    page = two.root / "build/report.html"
    of_the_build = page.read_text()
    page.unlink()
    assert report(two) == "build/report.html\n"
    assert page.read_text() == of_the_build
    assert report(two, "net") == "build/selection.html\n"
    assert "dense7" not in (two.root / "build/selection.html").read_text()
    assert report(two, "--format", "csv", "-o", str(tmp_path / "models/all.csv")) == ""
    assert (tmp_path / "models/all.csv").read_text().startswith("label,passed,")
    report(two, "net", "--output", str(tmp_path / "net.html"))
    assert "<!doctype html>" in (tmp_path / "net.html").read_text().lower()


def test_a_relative_output_lies_in_the_user_s_folder(two: ToyProject) -> None:
    inside = ToyProject(two.root / "specs")
    assert report(inside, "net", "-o", "page.html") == "page.html\n"
    (two.root / "specs/page.html").unlink()


def test_two_models_are_compared_like_two_times_of_one(two: ToyProject) -> None:
    compared = json.loads(report(two, "--format", "json", "--compare", "dense7", "net"))
    difference: dict[str, Any] = compared["difference"]
    assert compared["labels"] == ["dense7", "net"]
    assert {"pointer": "/train/steps", "former": 200, "now": 100} in difference["fields"]
    assert (difference["former"]["metrics"]["top1"]["tflite"], difference["now"]["metrics"]["top1"]["tflite"]) == (
        91.4,
        89.4,
    )
    assert "qatbuild: 1 changed, from dense7 to net" in report(
        two, "--format", "markdown", "--compare", "dense7", "net"
    )
    assert report(two, "--compare", "dense7", "net") == "build/comparison.html\n"


def test_a_comparison_of_one_model_or_in_another_format_is_one_error(two: ToyProject) -> None:
    hint = follows("doit report --compare ")
    for arguments in (("net",), (), ("net", "dense7", "--format", "csv"), ("net", "net")):
        said = refused(two, "--compare", *arguments)
        assert "--compare needs two models, and one of the formats html, json, markdown." in said
        assert f"hint: {hint}" in said
    assert report(two, *said.partition("hint: doit report ")[2].replace("later", "dense7").split()).endswith(".html\n")


def test_the_page_also_shows_what_changed_since_a_revision(toy: ToyProject) -> None:
    git(toy.root, "init", "-q", "-b", "main")
    git(toy.root, "add", "-A")
    git(toy.root, "commit", "-qm", "first")
    toy.spec("net", train={**SPEC["train"], "steps": 200})
    toy.built()
    assert report(toy, "--since", "main") == "build/changes.html\n"
    changes = json.loads(block((toy.root / "build/changes.html").read_text()))["changes"]
    assert (changes["former"], changes["now"]) == ("main", "the working tree")
    assert {"pointer": "/train/steps", "former": 100, "now": 200} in changes["differences"][0]["fields"]
    assert "revision  nope" in refused(toy, "--since", "nope")
    for arguments in (("--format", "csv"), ("--compare", "net", "net")):
        assert "--since is for the page of models." in refused(toy, "--since", "main", *arguments)
    done = toy.doit(*follows("doit diff REF --format markdown").replace("REF", "main").split()[1:])
    assert "qatbuild: 1 changed, from main" in done.stdout


def test_node_data_are_a_file_for_each_figure_of_each_model_with_layers(two: ToyProject, tmp_path: Path) -> None:
    hint = follows("doit report --format {} -o FOLDER").format("model-explorer")
    assert f"hint: {hint}" in refused(two, "--format", "model-explorer")
    said = report(two, *hint.replace("FOLDER", str(tmp_path)).split()[2:])
    assert f"{tmp_path}/dense7/sqnr_db.alone.json\n" in said
    assert not (tmp_path / "net").exists()
    assert "hint: doit net" in refused(two, "--format", "model-explorer", "-o", str(tmp_path), "net")


def test_a_model_that_was_never_built_is_named_with_what_builds_it(two: ToyProject, toy: ToyProject) -> None:
    assert "A model has not been built.\n  label  later\n  hint: doit later" in refused(two, "later", "net")
    assert "hint: doit net" in refused(toy)
    toy.built(*follows("doit {}").format("net").split()[1:])
    assert "net" in report(toy, "--format", "csv", "net")


def test_an_output_that_cannot_be_written_is_one_error_and_nothing_is_moved_aside(
    two: ToyProject, tmp_path: Path
) -> None:
    hint = follows("name a file after -o")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", Path("/dev/null")):
        for language in ("csv", "html"):
            said = refused(two, "--format", language, "-o", str(path))
            assert "The output is no regular file." in said
            assert f"hint: {hint}" in said
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    (tmp_path / "file").write_text("mine")
    assert "reason  Not a directory" in refused(two, "--format", "csv", "-o", str(tmp_path / "file/x.csv"))
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "link").symlink_to("file")
    report(two, "--format", "csv", "-o", str(tmp_path / "link"))
    assert (tmp_path / "link").readlink() == Path("file")
    assert (tmp_path / "file").read_text().startswith("label,")


def test_an_unknown_label_and_an_unknown_format_are_one_error(two: ToyProject) -> None:
    assert 'There is no label "nett". Did you mean "net"?' in refused(two, "nett")
    assert "'model-explorer'" in refused(two, "--format", "xml")


def test_a_refused_and_a_failed_model_are_folded_out_for_the_reviewer(toy: ToyProject) -> None:
    gate = {"name": "min_top1", "wanted": "95 %", "got": "91 %", "passed": False}
    toy.spec("broken", train={**SPEC["train"], "steps": 7})
    (toy.root / "report.json").write_text(json.dumps({"gates": [gate], "layers": LAYERS}))
    (toy.root / "broken.txt").write_text("evaluate refuse")
    assert toy.doit("net").returncode == 1
    (toy.root / "broken.txt").write_text("float fail")
    assert toy.doit("broken").returncode == 1
    text = report(toy, "--format", "markdown")
    assert text.startswith("### qatbuild: 2 models, 2 not passed\n")
    assert "| min\\_top1 | 95 % | 91 % |" in text
    assert "conv1  CONV_2D" in text
    assert "~~~text\nThe toy float fails." in text
    rows = {each["label"]: each for each in csv.DictReader(io.StringIO(report(toy, "--format", "csv")))}
    assert (rows["net"]["verdict"], rows["net"]["top1.tflite"]) == ("REFUSED: min_top1", "89.4")
    assert (rows["broken"]["verdict"], rows["broken"]["top1.tflite"]) == ("FAILED: float", "")


def test_an_edited_report_is_in_no_format(toy: ToyProject) -> None:
    toy.built()
    file = toy.root / "build/net/report.json"
    file.write_text(file.read_text().replace("89.4", "99.9"))
    for language in ("json", "csv", "markdown", "junit"):
        text = report(toy, "--format", language)
        assert "99.9" not in text
        assert "stale" in text
