"""A route is one module, one class of options, its schema and its doc: no other file of the package names it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import grimp
import numpy as np
import pytest

from qatbuild.engine import plan as planning
from qatbuild.schema import routes
from qatbuild.schema.load import load
from qatbuild.worker.deploy import Outcome, Subject
from qatbuild.worker.stages import deploy
from tests.builds.conftest import REPOSITORY
from tests.deploy.subjects import classifier

PACKAGE = Path(REPOSITORY) / "qatbuild"
ALLOWED = {
    "schema/routes.py",  # the options, and what the stage depends on
    "schema/rules/deployment.py",  # rules between a route's options and other fields
    "schema/model.py",  # options that are paths
    "schema/rules/places.py",  # whether they exist
}


def strings(path: Path) -> set[str]:
    """The string constants of a module that are not documentation."""
    tree = ast.parse(path.read_text())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("route", routes.ROUTES)
def test_no_other_module_names_a_route(route: str) -> None:
    own = {f"worker/deploy/{path.name}" for path in (PACKAGE / "worker/deploy").glob(f"{route}*.py")}
    naming = {
        name
        for path in PACKAGE.rglob("*.py")
        if (name := path.relative_to(PACKAGE).as_posix()) not in ALLOWED | own
        and {route, f"deploy.{route}", f"qatbuild.worker.deploy.{route}"} & strings(path)
    }
    assert not naming


def test_a_route_imports_no_other_route() -> None:
    graph = grimp.build_graph("qatbuild", cache_dir=None)
    modules = {f"qatbuild.worker.deploy.{route}" for route in routes.ROUTES}
    for module in modules:
        assert not graph.find_upstream_modules(module) & modules, module


class Toy(NamedTuple):
    """The options of a route that only this test knows."""

    images: int = 3
    strength: float = 0.5
    config: str | None = None


def test_a_toy_route_is_planned_and_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for table in ("ROUTES", "NEEDS"):
        monkeypatch.setattr(routes, table, dict(getattr(routes, table)))
    monkeypatch.setattr(routes, "REAL", set(routes.REAL))
    monkeypatch.setattr(planning, "NEEDS", routes.NEEDS)
    needs = routes.Needs(("toy-tool",), reads_graphs=True, sources={"part": "toy.c"}, paths=("config",))
    routes.route("toy", needs)(Toy)
    assert "strength" in routes.REAL

    spec = tmp_path / "net.json"
    spec.write_text(
        '{"input": {"mean": 0, "std_dev": 1}, "model": {"name": "digitsnet"},'
        ' "train": {"steps": 10, "learning_rate": {"initial": 0.1}}, "dataset": {"name": "digits"}}'
    )
    allowed: Any = SimpleNamespace(root=tmp_path, holds=lambda _: True, module=lambda _: None)
    (variant,) = load("net", spec, allowed)
    options = routes.typed("toy", {"strength": 1, "config": "toy.ini"}, "net", lambda path: f"/specs/{path}")
    assert isinstance(options, Toy)
    (stage,) = (
        stage
        for stage in planning.plan([variant._replace(deploy={"toy": options})], tmp_path).stages.values()
        if stage.route
    )
    assert stage.name == "deploy.toy"
    assert stage.settings["toy"] == {"images": 3, "strength": 1.0}
    assert set(stage.inputs) == {"dataset", "freeze", "convert"}
    assert stage.sources == {"part": str(PACKAGE / "worker/deploy/toy.c"), "config": "/specs/toy.ini"}
    assert stage.packages == ("numpy", "ai-edge-litert", "toy-tool")
    assert stage.modules[-2:] == ("qatbuild.worker.tasks.classification", "qatbuild.worker.deploy.toy")

    module = ModuleType("qatbuild.worker.deploy.toy")

    def build(subject: Subject, options: dict[str, object], out: Path) -> Outcome:
        (out / "toy.bin").write_text(str(options["strength"]))
        return Outcome("toy.bin", {"toy": "1"}, {"toy.bin": subject.reference})

    module.build = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    reference = np.diag(np.full(3, 200, np.uint8))
    subject = classifier(spec, np.zeros((3, 1, 1, 1), np.uint8), reference, tmp_path)
    subject.samples.targets["labels"][:] = np.arange(3)
    monkeypatch.setattr(deploy, "_subject", lambda _request, count: subject if count == options.images else None)
    request: Any = SimpleNamespace(stage=stage.name, settings=stage.settings, out=tmp_path, folder=tmp_path)
    facts = deploy.run(request)
    assert (facts.route, facts.artifact, facts.verdict) == ("toy", "toy.bin", "passed")
    (compared,) = facts.comparisons
    assert (compared.accuracy_percent, compared.top1_percent, compared.max_lsb) == (100, 100, 0)
    assert facts.warnings == ("The dataset has only 3 test images: an agreement on so few says little.",)
