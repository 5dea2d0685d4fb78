"""Import contracts, limits of modules, and the layout of the repository."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from qatbuild.engine.affected import PLANNING
from qatbuild.plugin.commands.inherited import COMMANDS
from qatbuild.schema.load import RESERVED

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted((REPOSITORY / "qatbuild").rglob("*.py"))
TOP = {"dodo.py", "qatbuild", "specs", "tests", "pyproject.toml", "README.md"}
"""The entries at the top of the repository, besides dot-files."""

SHARED = {"", "version", "exchange"}
"""Rooms of both halves: the package itself, its version, and what crosses between the halves."""

ENGINE_HALF = {"schema", "engine", "report", "plugin"}
WORKER_HALF = {"worker", "quantize"}
TEXTS_ONLY = {"docs"}
"""Folders below qatbuild/ without Python files."""


def module_name(path: Path) -> str:
    """The dotted name of a file's module: qatbuild.engine.plan, or qatbuild.engine for its __init__.py."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}


def imports(module: str) -> set[str]:
    """The modules of qatbuild that a module imports, also inside functions."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    # A name that is imported from a package may be a module of it, or a name in its __init__.py.
    return {
        name
        for name in names
        if name in MODULES and not any(each.startswith(f"{name}.") for each in names & set(MODULES))
    }


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """The nodes of one circle; empty if the graph has none."""
    remaining = {node: set(after) & set(edges) - {node} for node, after in edges.items()}
    while leaves := {node for node, after in remaining.items() if not after}:
        remaining = {node: after - leaves for node, after in remaining.items() if node not in leaves}
    return sorted(remaining)


def graph(depth: int, below: str = "qatbuild") -> dict[str, set[str]]:
    """Module -> the modules that it imports, below a package, by the first `depth` parts of their names."""

    def room(module: str) -> str:
        return ".".join(module.split(".")[:depth])

    edges: dict[str, set[str]] = {}
    for module in MODULES:
        if module.startswith(f"{below}.") and room(module) != below:
            inside = {room(each) for each in imports(module) if each.startswith(f"{below}.")}
            edges.setdefault(room(module), set()).update(inside)
    return edges


def test_import_contracts_are_kept() -> None:
    """The contracts stand in pyproject.toml, [tool.importlinter]."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_top_level_holds_nothing_else() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: tracked files cannot be distinguished from others")
    entries = {name.split("/")[0] for name in listed.stdout.splitlines()}
    assert {name for name in entries if not name.startswith(".")} == TOP


def test_every_module_is_in_exactly_one_half_or_crosses_between_them() -> None:
    assert not ENGINE_HALF & WORKER_HALF
    rooms = {module.partition("qatbuild.")[2].partition(".")[0] for module in MODULES}
    assert rooms == SHARED | ENGINE_HALF | WORKER_HALF
    folders = {
        path.name for path in (REPOSITORY / "qatbuild").iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    assert folders - TEXTS_ONLY == (SHARED - {"", "version"}) | ENGINE_HALF | WORKER_HALF


def test_each_half_has_an_import_contract_over_all_its_rooms() -> None:
    """A room that is missing in a contract could import anything."""
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    sources = {contract["name"]: {*contract.get("source_modules", ())} for contract in contracts}
    named = [{name.partition(".")[2] for name in modules} for modules in sources.values()]
    assert ENGINE_HALF | {"exchange"} in named
    assert WORKER_HALF | {"exchange"} in named


def test_the_documented_rooms_are_the_packages() -> None:
    """docs/architecture.md has a table with a row for each package."""
    text = (REPOSITORY / "qatbuild/docs/architecture.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^\| `([a-z0-9_/]+)/` \|", text, re.MULTILINE)
    packages = [path.parent.relative_to(REPOSITORY / "qatbuild") for path in SOURCES if path.name == "__init__.py"]
    assert sorted(rooms) == sorted(package.as_posix() for package in packages if package.parts)


def test_packages_import_each_other_without_a_circle() -> None:
    assert circle(graph(depth=2)) == []


@pytest.mark.parametrize("package", ["engine", "quantize"])
def test_the_modules_and_wings_of_a_package_import_each_other_without_a_circle(package: str) -> None:
    assert circle(graph(depth=3, below=f"qatbuild.{package}")) == []


def test_import_circles_are_detected() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["a", "b", "c", "d"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_module_is_small_documented_and_named_after_a_concept(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    assert ast.get_docstring(ast.parse(text))
    assert path.stem not in {"utils", "util", "helpers", "common", "base", "core", "manager", "misc"}


def test_median_module_is_short() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in SOURCES)
    assert lengths[len(lengths) // 2] < 120


def test_command_names_are_reserved_as_labels() -> None:
    points = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"]["doit.COMMAND"]
    assert set(points) <= RESERVED
    inherited = {name for name, place in points.items() if ".inherited:" in place} | {"run", "tabcompletion"}
    assert set(points) - inherited == set(COMMANDS)


def test_affected_compares_every_module_that_shapes_a_plan() -> None:
    """The others that planning imports only read a file, refuse a spec, or word why."""
    reached, waiting = set[str](), ["qatbuild.engine.plan", "qatbuild.schema.load"]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += (each for each in imports(module) if each.startswith(("qatbuild.engine.", "qatbuild.schema.")))
    refusing = {"diagnostics", "fast_validator", "fault_list", "faults", "nearest", "positions", "read", "rules"}
    rules = {"deployment", "gates", "inputs", "network", "outputs", "places", "quantization", "reading", "training"}
    others = refusing | {f"rules.{name}" for name in (*rules, "unlabelled")}
    assert set(PLANNING) == reached - {f"qatbuild.schema.{name}" for name in others}


def imported(*command: str, cwd: Path) -> set[str]:
    """The top-level packages in sys.modules when the command ends."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('MODULES', *{name.split('.')[0] for name in sys.modules}, file=sys.stderr))\n"
        "sys.argv = sys.argv[1:]\n"
        "from doit.__main__ import main\n"
        "raise SystemExit(main())\n"
    )
    program = [sys.executable, "-c", code, *command]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "info" in command, done.stderr  # info tells by its status whether it would run
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("MODULES")]
    return set(line.split()[1:])


@pytest.mark.parametrize(
    "command", ["list", "info", "help", "explain", "plan", "graph", "check", "affected", "diff", "gc"]
)
def test_looking_at_the_build_imports_no_tensorflow_and_no_numpy(command: str) -> None:
    more = {"info": ["digits:convert"], "affected": ["--since", "HEAD"], "gc": ["--dry-run"]}
    arguments = [command, *more.get(command, [])]
    assert not {"tensorflow", "numpy", "keras"} & imported("doit", *arguments, cwd=REPOSITORY)


def test_the_dataset_stage_imports_no_tensorflow() -> None:
    program = "import sys, qatbuild.worker.stages.dataset; raise SystemExit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False).returncode == 0
