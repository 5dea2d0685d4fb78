"""`doit graph` and `doit check`."""

from __future__ import annotations

import json
import os
import re

from tests.builds.conftest import ToyProject


def test_every_input_is_an_edge_in_each_language(toy: ToyProject) -> None:
    toy.spec("net", variants={"a": {}, "b": {"quantize": {"steps": 7}}})
    stages = json.loads(toy.doit("graph", "--format", "json").stdout)["stages"]
    inputs, order = (sum(len(stage[kind]) for stage in stages) for kind in ("inputs", "after"))
    assert len(stages) == 3 + 2 * 5
    dot, mermaid = (toy.doit("graph", "--format", language).stdout for language in ("dot", "mermaid"))
    assert len(re.findall(r'" -> "', dot)) == inputs + order
    assert [len(re.findall(rf"s\d+ {arrow} s\d+", mermaid)) for arrow in ("-->", "-.->")] == [inputs, order]
    assert '"net@b:quantize"' not in dot
    assert r"dataset\nnet@a (and 1 more)" in dot


def test_the_graph_of_a_label_has_the_stages_it_depends_on(toy: ToyProject) -> None:
    toy.spec("other", quantize={"steps": 7})
    stages = json.loads(toy.doit("graph", "--format", "json", "net:float").stdout)["stages"]
    assert [stage["stage"] for stage in stages] == ["dataset", "check", "float"]


def test_an_unknown_language_is_one_error(toy: ToyProject) -> None:
    done = toy.doit("graph", "--format", "svg")
    assert done.returncode == 3
    assert "svg" in done.stderr
    assert "Traceback" not in done.stderr


def test_good_specs_are_counted(toy: ToyProject) -> None:
    toy.spec("other", matrix={"train.seed": [1, 2]})
    done = toy.doit("check")
    assert (done.returncode, done.stdout) == (0, "3 labels without faults\n")
    assert toy.doit("check", "net").stdout == "1 label without faults\n"


def test_all_faults_of_all_specs_are_shown(toy: ToyProject) -> None:
    toy.spec("bad", trian={})
    toy.spec("worse", input={"mean": -0.5, "std_dev": 0})
    done = toy.doit("check")
    assert done.returncode == 1
    for text in ("/trian  unknown field", "/input/mean", "/input/std_dev", "1 label without faults, 2 specs with"):
        assert text in done.stdout
    errors = json.loads(toy.doit("check", "--json").stdout)["errors"]
    assert dict(errors["bad"]["facts"])["/trian"].startswith("unknown field")
    assert toy.doit("check", "net").returncode == 0


def test_checking_an_unknown_spec_is_one_error(toy: ToyProject) -> None:
    done = toy.doit("check", "nett")
    assert done.returncode == 3
    assert 'Did you mean "net"?' in done.stderr


def test_typos_are_corrected_on_request_and_the_rest_is_shown(toy: ToyProject) -> None:
    toy.spec("bad", input={"mean": -0.5, "std": 2})
    before = (toy.root / "specs/net.json").read_bytes()
    done = toy.doit("check", "--fix")
    assert done.returncode == 1
    assert '"std" -> "std_dev"' in done.stderr
    assert "A spec has 1 fault." in done.stdout
    assert "/input/mean" in done.stdout
    assert json.loads((toy.root / "specs/bad.json").read_text())["input"] == {"mean": -0.5, "std_dev": 2}
    assert (toy.root / "specs/net.json").read_bytes() == before


def test_only_the_named_specs_are_corrected(toy: ToyProject) -> None:
    toy.spec("bad", dataste={})
    toy.spec("worse", agument={})
    toy.doit("check", "--fix", "worse")
    assert "dataste" in (toy.root / "specs/bad.json").read_text()
    assert "agument" not in (toy.root / "specs/worse.json").read_text()


def test_a_field_that_is_there_already_is_not_written_twice(toy: ToyProject) -> None:
    toy.spec("bad", trian={})
    done = toy.doit("check", "--fix")
    assert (done.returncode, done.stderr) == (1, "")
    assert "trian" in (toy.root / "specs/bad.json").read_text()


def test_a_read_only_spec_is_one_error(toy: ToyProject) -> None:
    toy.spec("bad", agument={})
    (toy.root / "specs").chmod(0o555)
    try:
        done = toy.doit("check", "--fix")
    finally:
        (toy.root / "specs").chmod(0o755)
    if os.geteuid():
        assert (done.returncode, "Permission denied" in done.stderr) == (3, True)
    assert "Traceback" not in done.stderr


def test_code_hosts_get_each_fault_with_its_line(toy: ToyProject) -> None:
    toy.spec("bad", agument={})
    fault = json.loads(toy.doit("check", "--json").stdout)["errors"]["bad"]["faults"][0]
    assert (fault["file"], fault["line"], fault["pointer"], fault["replacement"]) == (
        "specs/bad.json",
        1,
        "/agument",
        '"augment"',
    )
    line = toy.doit("check", "--format", "github").stdout
    assert line.startswith(
        f"::error file=specs/bad.json,line=1,col={fault['column']},endColumn={fault['end_column']}::"
    )
    (row,) = json.loads(toy.doit("check", "--format", "gitlab").stdout)
    assert row["location"] == {"path": "specs/bad.json", "lines": {"begin": 1}}
    (result,) = json.loads(toy.doit("check", "--format", "sarif").stdout)["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "specs/bad.json"}
    assert place["region"]["startColumn"] == fault["column"]


def test_without_faults_the_formats_are_empty(toy: ToyProject) -> None:
    assert toy.doit("check", "--format", "github").stdout.strip() == ""
    assert json.loads(toy.doit("check", "--format", "gitlab").stdout) == []
    assert json.loads(toy.doit("check", "--format", "sarif").stdout)["runs"][0]["results"] == []
    assert toy.doit("check", "--format", "xml").returncode == 3
