"""One graph, written down for each tool: two shared stages, and six for each of N variants.

    dataset ─ check ─┬─ float ─ quantize ─┬─ freeze ─ convert ─ evaluate        N times
                     └──────── export ────┘

Every action is a toy that writes a line, so that what is measured is the tool. Each function makes a folder that is
ready to be built and returns how to build it, list it, and edit one variant.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.builds.conftest import REPOSITORY, SPEC

STAGES = {
    "float": (["dataset", "check"], ["weights"]),
    "quantize": (["dataset", "check", "float"], ["weights"]),
    "export": (["dataset", "check"], ["graph"]),
    "freeze": (["export", "quantize", "float"], ["frozen", "float"]),
    "convert": (["export", "freeze"], ["tflite"]),
    "evaluate": (["dataset", "freeze", "convert"], ["report"]),
}
"""A variant's stages: what each reads, what each leaves."""

_DODO = """
import sys, time
from qatbuild.plugin import door
from tests.benchmarks.toy import LineExecutor

DOIT_CONFIG, task_specs = door(__file__, LineExecutor())


def timed(action):
    stages = None

    def run(builder, stage):
        nonlocal stages
        wall, cpu = time.perf_counter(), time.process_time()
        result = action(builder, stage)
        stages = stages or open("stages.txt", "a", buffering=1)
        stages.write(f"{time.perf_counter() - wall} {time.process_time() - cpu}\\n")
        return result

    return run


engine = sys.modules.get("qatbuild.engine.build")  # A build with nothing to do imports none.
if engine is not None:
    engine.Builder.build = timed(engine.Builder.build)
"""


@dataclass(frozen=True)
class Project:
    """A graph as one tool has it: commands, environment, and the file to edit for one variant."""

    root: Path
    build: list[str]
    list: list[str] | None
    spec: Callable[[int], Path]
    environment: dict[str, str]


def qatbuild(root: Path, variants: int) -> Project:
    """N specs that differ in their seed, and the toy stages of toy.py.

    stages.txt says how long each stage took: doit's action, to the end of which its artifacts are in their place and in
    the store.
    """
    (root / "specs").mkdir(parents=True)
    (root / "dodo.py").write_text(_DODO)
    (root / "specs/data.bin").write_text("pixels")
    for number in range(variants):
        train = {**SPEC["train"], "seed": number + 1}
        (root / f"specs/v{number}.json").write_text(json.dumps({**SPEC, "train": train}))
    doit = [sys.executable, "-m", "doit"]
    here = {"PYTHONPATH": str(REPOSITORY)}
    return Project(root, doit, [*doit, "list"], lambda number: root / f"specs/v{number}.json", here)


def plain_doit(root: Path, variants: int) -> Project:
    """The same stages as file_dep and targets, with Python actions: what one writes by hand."""
    _inputs(root, variants)
    (root / "dodo.py").write_text(_PLAIN.format(stages=STAGES, variants=variants))
    doit = [sys.executable, "-m", "doit"]
    return Project(root, doit, [*doit, "list"], lambda number: root / f"specs/v{number}.json", {})


def ninja(root: Path, variants: int) -> Project | str:
    """The same stages as rules that concatenate."""
    program = shutil.which("ninja")
    if program is None:
        return "ninja is not installed"
    _inputs(root, variants)
    lines = ["rule cat", "  command = cat $in | tee $out > /dev/null", "  restat = 1"]
    for reads, leaves in _rules(variants):
        lines.append(f"build {' '.join(leaves)}: cat {' '.join(reads)}")
    (root / "build.ninja").write_text("\n".join(lines) + "\n")
    return Project(
        root, [program, "-j1"], [program, "-t", "targets"], lambda number: root / f"specs/v{number}.json", {}
    )


def snakemake(root: Path, variants: int) -> Project | str:
    """The same stages as rules with a wildcard."""
    program = shutil.which("snakemake")
    if program is None:
        return "snakemake is not installed"
    _inputs(root, variants)
    (root / "Snakefile").write_text(_snakefile(variants))
    command = [program, "--cores", "1", "--quiet", "all"]
    return Project(root, command, None, lambda number: root / f"specs/v{number}.json", {"HOME": str(root)})


def dvc(root: Path, variants: int) -> Project | str:
    """The same stages in dvc.yaml, without a git repository."""
    program = shutil.which("dvc")
    if program is None:
        return "dvc is not installed"
    _inputs(root, variants)
    stages = []
    for number, (reads, leaves) in enumerate(_rules(variants)):
        deps, outs = "".join(f"    - {name}\n" for name in reads), "".join(f"    - {name}\n" for name in leaves)
        shell = f"mkdir -p build && cat {' '.join(reads)} | tee {' '.join(leaves)} > /dev/null"
        stages.append(f"  s{number}:\n    cmd: {shell}\n    deps:\n{deps}    outs:\n{outs}")
    (root / "dvc.yaml").write_text("stages:\n" + "".join(stages))
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    command = [program, "repro", "--quiet"]
    listing = [program, "stage", "list"]
    return Project(root, command, listing, lambda number: root / f"specs/v{number}.json", {"HOME": str(root)})


TOOLS = {"qatbuild": qatbuild, "doit": plain_doit, "ninja": ninja, "snakemake": snakemake, "dvc": dvc}


def _inputs(root: Path, variants: int) -> None:
    (root / "specs").mkdir(parents=True)
    (root / "build").mkdir()
    (root / "specs/data.bin").write_text("pixels")
    for number in range(variants):
        (root / f"specs/v{number}.json").write_text(json.dumps({"seed": number + 1}))


def _rules(variants: int) -> list[tuple[list[str], list[str]]]:
    """(what it reads, what it leaves) of every stage, as paths."""
    rules = [
        (["specs/data.bin"], ["build/dataset.arrays"]),
        (["build/dataset.arrays"], ["build/check.answer"]),
    ]
    for number in range(variants):
        files = {"dataset": ["build/dataset.arrays"], "check": ["build/check.answer"]}
        for name, (reads, leaves) in STAGES.items():
            files[name] = [f"build/v{number}.{name}.{leaf}" for leaf in leaves]
            rules.append(([f"specs/v{number}.json", *(path for role in reads for path in files[role])], files[name]))
    return rules


_PLAIN = """
import hashlib

STAGES = {stages!r}


def write(dependencies, targets):
    text = "".join(open(name).read() for name in sorted(dependencies))
    for name in targets:
        with open(name, "w") as file:
            file.write(hashlib.sha256(text.encode()).hexdigest())


def task_shared():
    for name, read, made in (
        ("dataset", "specs/data.bin", "build/dataset.arrays"),
        ("check", "build/dataset.arrays", "build/check.answer"),
    ):
        yield {{"name": name, "file_dep": [read], "targets": [made], "actions": [write]}}


def task_variants():
    for number in range({variants}):
        files = {{"dataset": ["build/dataset.arrays"], "check": ["build/check.answer"]}}
        for name, (reads, leaves) in STAGES.items():
            files[name] = [f"build/v{{number}}.{{name}}.{{leaf}}" for leaf in leaves]
            yield {{
                "basename": f"v{{number}}",
                "name": name,
                "file_dep": [f"specs/v{{number}}.json", *(path for role in reads for path in files[role])],
                "targets": files[name],
                "actions": [write],
            }}
"""


def _snakefile(variants: int) -> str:
    last = [f"build/v{number}.evaluate.report" for number in range(variants)]
    text = f"rule all:\n    input: {last!r}\n"
    rules = {"dataset": (["specs/data.bin"], ["build/dataset.arrays"])}
    rules["check"] = (["build/dataset.arrays"], ["build/check.answer"])
    files = {name: leaves for name, (_, leaves) in rules.items()}
    for name, (reads, leaves) in STAGES.items():
        files[name] = [f"build/v{{n}}.{name}.{leaf}" for leaf in leaves]
        rules[name] = (["specs/v{n}.json", *(path for role in reads for path in files[role])], files[name])
    for name, (reads, leaves) in rules.items():
        text += f"rule {name}:\n    input: {reads!r}\n    output: {leaves!r}\n"
        text += '    shell: "cat {input} | tee {output} > /dev/null"\n'
    return text
