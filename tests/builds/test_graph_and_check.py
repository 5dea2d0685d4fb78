"""`doit graph` and `doit check`."""

from __future__ import annotations

import json
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
