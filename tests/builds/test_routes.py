"""Deployment routes are stages: which of them run after which change or failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.code_digest import Code
from qatbuild.engine.plan import plan
from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths
from tests.builds.conftest import REPOSITORY, ToyProject
from tests.hints import follows
from tests.page.reading import block, shown

ROUTES: dict[str, dict[str, Any]] = {"litert": {}, "vela": {}, "c_array": {}}
STAGES = ["deploy.c_array", "deploy.litert", "deploy.vela"]


@pytest.fixture
def routed(toy: ToyProject) -> ToyProject:
    """A built project whose spec names three routes."""
    toy.spec("net", deploy=ROUTES)
    assert sorted(set(toy.built()) & set(STAGES)) == STAGES
    return toy


def test_each_route_has_a_folder_and_a_manifest_of_its_own(routed: ToyProject) -> None:
    for route in ROUTES:
        home = routed.root / "build/net/deploy" / route
        assert (home / "route.json").is_file()
        assert (home / f"deploy.{route}.manifest.json").is_file()
    assert routed.built() == []


def test_editing_one_route_s_options_reruns_that_route_alone(routed: ToyProject) -> None:
    routed.spec("net", deploy={**ROUTES, "vela": {"accelerator": "ethos-u55-256"}})
    assert routed.built() == ["deploy.vela"]


def test_adding_a_route_runs_it_alone_and_a_variant_can_do_without_one(routed: ToyProject) -> None:
    routed.spec("net", deploy={**ROUTES, "onnx": {}})
    assert routed.built() == ["deploy.onnx"]
    routed.spec("net", deploy=ROUTES, variants={"small": {"deploy": {"vela": None, "litert": None}}})
    assert [stage for stage in routed.built() if stage in STAGES] == ["deploy.c_array"]


def test_editing_evaluate_deploys_nothing_again(routed: ToyProject) -> None:
    routed.spec("net", deploy=ROUTES, evaluate={"min_top1": 50})
    assert routed.built() == ["evaluate"]


def test_a_route_that_fails_loses_neither_model_nor_report_nor_the_other_routes(toy: ToyProject) -> None:
    toy.spec("net", deploy=ROUTES)
    (toy.root / "broken.txt").write_text("deploy.vela fail")
    done = toy.doit("-c")
    assert done.returncode != 0
    assert "net:deploy.vela FAILED" in done.stdout
    home = toy.root / "build/net"
    for name in ("model.tflite", "report.json", "deploy/litert/route.json", "deploy/c_array/route.json"):
        assert (home / name).is_file()
    assert not (home / "deploy/vela/route.json").exists()
    (toy.root / "broken.txt").unlink()
    toy.runs()
    assert toy.built() == ["deploy.vela"]


def test_a_route_that_failed_is_listed_as_failed_until_it_is_built_even_by_builds_of_others(toy: ToyProject) -> None:
    toy.spec("net", deploy=ROUTES)
    toy.spec("other")
    toy.doit()
    built, suite = "deploy/vela/model.bin", toy.root / "build/junit.xml"
    toy.spec("net", deploy={**ROUTES, "vela": {"optimise": "Size"}})
    (toy.root / "broken.txt").write_text("deploy.vela fail")
    assert "net:deploy.vela FAILED" in toy.doit("-c").stdout.partition("route  ")[0]
    (toy.root / "broken.txt").unlink()
    toy.spec("other", evaluate={"min_top1": 1})
    for _ in range(2):
        assert built not in (toy.root / "build/report.html").read_text()
        assert '<testcase classname="net:deploy.vela" name="built">' in suite.read_text()
        toy.doit("other")
    toy.runs()
    toy.spec("net", deploy=ROUTES)  # As it was: nothing is to be built, and nothing is lost.
    assert not set(toy.built()) & set(STAGES)
    assert built in (toy.root / "build/report.html").read_text()
    assert "<error" not in suite.read_text()


def test_a_partial_build_leaves_no_verdict_of_an_earlier_model(toy: ToyProject) -> None:
    toy.spec("net", deploy=ROUTES)
    toy.built()
    page, suite = toy.root / "build/report.html", toy.root / "build/junit.xml"
    assert "stale" not in block(page.read_text()) + suite.read_text()
    toy.spec("net", deploy=ROUTES, input={"mean": 121, "std_dev": 32})
    assert "evaluate" in toy.built("net:evaluate")
    (model,) = shown(page)
    assert (model["state"], model["why"]) == ("stale", ["deploy.c_array", "deploy.litert", "deploy.vela"])
    assert "deploy/vela/model.bin" not in page.read_text()
    assert '<skipped message="stale: of an earlier model"' in suite.read_text()
    assert "deploy.vela" in toy.built()
    assert "stale" not in block(page.read_text())
    assert "deploy/vela/model.bin" in page.read_text()


def test_a_model_that_is_refused_is_not_deployed(toy: ToyProject) -> None:
    toy.spec("net", deploy=ROUTES)
    (toy.root / "broken.txt").write_text("evaluate refuse")
    assert toy.doit("-c").returncode != 0
    assert not set(toy.runs()) & set(STAGES)


def test_a_route_that_a_gate_refuses_is_left_to_look_at_and_runs_again(toy: ToyProject) -> None:
    toy.spec("net", deploy=ROUTES)
    (toy.root / "broken.txt").write_text("deploy.vela refuse")
    for _ in range(2):
        assert toy.doit("-c").returncode != 0
        assert "deploy.vela" in toy.runs()
    assert (toy.root / "build/net/deploy/vela/route.json").is_file()


def test_routes_run_side_by_side_and_are_built_by_name(toy: ToyProject) -> None:
    toy.spec("net", deploy=ROUTES)
    assert set(STAGES) <= set(toy.built("-n", "3", "net"))
    (toy.root / "build/net/deploy/vela/route.json").unlink()
    (toy.root / "build/net/deploy/litert/route.json").unlink()
    assert toy.built("net:deploy.vela") == ["deploy.vela"]
    assert toy.built("net:deploy") == ["deploy.litert"]


def test_clean_removes_the_routes_too(routed: ToyProject) -> None:
    assert routed.doit("clean", "net").returncode == 0
    assert not list((routed.root / "build/net/deploy").rglob("*.json"))


def test_the_code_of_a_route_is_an_input_of_that_route_alone(toy: ToyProject) -> None:
    toy.spec("net", deploy={route: {} for route in ("litert", "vela", "onnx", "coreml")})
    variants = load("net", toy.root / "specs/net.json", AllowedPaths(toy.root))
    code = Code(REPOSITORY)
    for stage in plan(variants, toy.root).stages.values():
        modules = {module for module, _, _ in code.closure(stage.modules)}
        rooms = {module.partition("qatbuild.worker.deploy.")[2] for module in modules} & set(
            ROUTES | {"onnx": 0, "coreml": 0}
        )
        assert rooms == ({stage.route} if stage.route else set()), stage.id


def test_a_label_in_the_folder_of_another_s_routes_is_refused_alone(routed: ToyProject) -> None:
    routed.spec("net/deploy/vela", dataset={"name": "cifar10", "path": "../../data.bin"})
    done = routed.doit("net/deploy/vela")
    assert done.returncode == 1
    assert '"net/deploy/vela" conflicts with "net".' in done.stdout
    assert follows("move its spec to another folder") in done.stdout
    assert routed.doit("net").returncode == 0
    (routed.root / "specs/other").mkdir()
    (routed.root / "specs/net/deploy/vela.json").rename(routed.root / "specs/other/vela.json")
    routed.spec("other/vela", dataset={"name": "cifar10", "path": "../data.bin"})
    assert routed.doit("other/vela:dataset").returncode == 0


def test_every_route_of_the_schema_has_its_module() -> None:
    from qatbuild.schema.routes import ROUTES as KNOWN  # noqa: PLC0415

    for route in KNOWN:
        assert (Path(REPOSITORY) / "qatbuild/worker/deploy" / f"{route}.py").is_file()


def test_closing_tables_page_and_junit_list_the_routes_and_make_nothing_stale(toy: ToyProject) -> None:
    toy.spec("net", deploy=ROUTES)
    printed = toy.doit().stdout
    assert "net:deploy.vela" in printed
    assert "passed; a note" in printed
    assert "build/report.html" in printed
    page, suite = toy.root / "build/report.html", toy.root / "build/junit.xml"
    assert "deploy/vela/model.bin" in page.read_text()
    assert "max_accuracy_drop" not in suite.read_text()
    toy.runs()
    page.write_text("edited")
    assert toy.built() == []
    page.unlink()
    toy.spec("net", deploy={"vela": {}})
    assert toy.built() == []
    toy.spec("net", deploy={"vela": {"optimise": "Size"}})
    assert toy.built() == ["deploy.vela"]
    assert page.is_file()
