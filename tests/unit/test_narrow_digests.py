"""A stage's code digest covers the modules that it runs: an edit of one wing of quantize leaves the other stages alone.

Real plans of a shipped spec, and real edits in a copy of qatbuild.
"""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from qatbuild.engine.code_digest import PACKAGE, Code
from qatbuild.engine.file_cache import FileCache
from qatbuild.engine.plan import Plan, plan
from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths

REPOSITORY = Path(__file__).parents[2]
SPECS = REPOSITORY / "specs"
INTEGER = ("uint8", "int8", "int8_per_channel", "ptq", "ptq_percentile")
PTQ = ("ptq", "ptq_percentile")
REWRITING = ("check", "quantize", "export")


def of(variants: tuple[str, ...], stages: tuple[str, ...]) -> set[str]:
    return {f"{variant}:{stage}" for variant in variants for stage in stages}


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(load("digits-variants", SPECS / "digits-variants.json", AllowedPaths(REPOSITORY)), REPOSITORY)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("copy") / "qatbuild"
    return Path(shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture(scope="module")
def fingerprints() -> FileCache:
    """Fingerprints of files, kept for all tests: only edited files are parsed again."""
    return FileCache()


def digests(planned: Plan, package: Path, fingerprints: FileCache) -> dict[str, str]:
    """Return the code digest of every stage of every variant, by VARIANT:STAGE."""
    code = Code(REPOSITORY, fingerprints, package)
    return {
        f"{label.partition('@')[2]}:{name}": code.digest(planned.stages[id_].modules)
        for label, ids in planned.labels.items()
        for name, id_ in ids.items()
    }


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("quantize/tf1/placement.py", of(("tf1",), REWRITING)),
        ("quantize/tf1/check.py", {"tf1:check"}),
        ("quantize/tf1/contrib.py", set()),
        ("quantize/integer/fused_ops.py", of(INTEGER, REWRITING)),
        ("quantize/integer/insertion.py", of(INTEGER, ("quantize", "export"))),
        ("quantize/integer/learning.py", of(INTEGER, ("quantize", "export"))),
        ("quantize/batch_norm/fold.py", of(INTEGER, ("quantize", "export")) | of(("tf1",), REWRITING)),
        ("quantize/calibrate/calibration.py", of(PTQ, ("quantize",))),
        ("quantize/calibrate/percentile.py", of(PTQ, ("quantize",))),
        ("quantize/graph/integer_ops.py", of((*INTEGER, "tf1"), REWRITING)),
        ("quantize/options.py", of((*INTEGER, "tf1"), REWRITING)),
        ("worker/tflite/affine.py", of((*INTEGER, "tf1"), ("convert", "evaluate"))),
        ("worker/tflite/convert.py", of((*INTEGER, "tf1"), ("convert", "evaluate"))),
    ],
)
def test_edit_makes_exactly_the_stages_stale_that_run_the_module(
    planned: Plan, package: Path, fingerprints: FileCache, module: str, stale: set[str]
) -> None:
    before, text = digests(planned, package, fingerprints), (package / module).read_text()
    (package / module).write_text(f"{text}\nEDITED = 1\n")
    after = digests(planned, package, fingerprints)
    (package / module).write_text(text)
    assert {stage for stage in after if after[stage] != before[stage] and ":deploy." not in stage} == stale


def test_convert_and_evaluate_run_no_module_of_quantize() -> None:
    for stage in ("convert", "evaluate"):
        closure = [name for name, _, _ in Code(REPOSITORY).closure([f"qatbuild.worker.stages.{stage}"])]
        assert [name for name in closure if name.startswith("qatbuild.quantize")] == []


def test_no_module_of_qatbuild_imports_a_name_that_quantize_imports_lazily() -> None:
    """Its module would be missing in the importing stage's digest."""
    tree = ast.parse((PACKAGE / "quantize/__init__.py").read_text())
    (table,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_LAZY"
    )
    lazy = set(ast.literal_eval(table))
    assert lazy
    importing = [
        (path.name, alias.name)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "qatbuild.quantize"
        for alias in node.names
        if alias.name in lazy
    ]
    assert importing == []


TASKS = ("detection", "multilabel", "reconstruction", "regression", "segmentation")
TASKED = ("check", "float", "quantize", "export", "evaluate")


@pytest.mark.parametrize(
    ("module", "tasks", "stages"),
    [
        ("detection", ("detection",), TASKED),
        ("anchors", ("detection",), TASKED),
        ("auc", ("multilabel", "reconstruction"), TASKED),
        ("protocol", TASKS, (*TASKED, "freeze")),
    ],
)
def test_edit_of_a_task_makes_only_the_models_stale_that_have_it_and_no_dataset(
    package: Path, fingerprints: FileCache, module: str, tasks: tuple[str, ...], stages: tuple[str, ...]
) -> None:
    file = package / f"worker/tasks/{module}.py"

    def read() -> dict[str, str]:
        code = Code(REPOSITORY, fingerprints, package)
        plans = {
            task: plan(load(f"tasks/{task}", SPECS / f"tasks/{task}.json", AllowedPaths(REPOSITORY)), REPOSITORY)
            for task in TASKS
        }
        return {
            f"{task}:{stage.name}": code.digest(stage.modules)
            for task, each in plans.items()
            for stage in each.stages.values()
        }

    before, text = read(), file.read_text()
    file.write_text(f"{text}\nEDITED = 1\n")
    after = read()
    file.write_text(text)
    assert {key for key in after if after[key] != before[key]} == {
        f"{task}:{name}" for task in tasks for name in stages
    }
