"""Forty planted causes of another result: each is named, and nothing else is."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine import rebuild
from qatbuild.engine.build import build
from qatbuild.engine.code_digest import Code
from qatbuild.engine.file_cache import FileCache
from qatbuild.engine.history.log import OriginLog
from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.project import Everything, Project
from qatbuild.engine.why.causes import Cause, causes
from qatbuild.engine.why.sides import Sides
from qatbuild.exchange.published import Record
from tests.builds.conftest import REPOSITORY, toy_at
from tests.builds.toolchain import ToyExecutor

SPEC: dict[str, Any] = {
    "dataset": {"name": "cifar10", "path": "data.bin", "validation": 0.2},
    "input": {"mean": 121, "std_dev": 64},
    "augment": {"pad_crop": 4},
    "model": {"call": "nets:build", "options": {"width": 8}, "files": ["table.txt"]},
    "train": {"steps": 100, "checkpoint_every": 10, "learning_rate": {"initial": 0.1}},
    "quantize": {"steps": 20, "checkpoint_every": 5, "learning_rate": {"initial": 0.01}},
    "evaluate": {"latency_runs": 7, "min_top1": 10},
    "deploy": {"litert": {}},
}
NETS = '''"""A network."""
from layers import conv


def build(images, classes, *, training):
    """Builds it."""
    if training:
        return conv(images, 3)
    return conv(images, 1)
'''
LAYERS = "def conv(images, size):\n    return images * size\n"


_UNUSED = shutil.ignore_patterns("docs", "__pycache__")


class Planted:
    """A built project of toys; a test changes one thing, builds again, and asks why."""

    def __init__(self, root: Path, package: Path) -> None:
        self.toy = toy_at(root)
        self.package = package
        self.restore()
        self.build()
        folders = [self.toy.root / "build/net/deploy/litert", self.toy.root / "build/net"]
        folders += (self.toy.root / "build/shared").iterdir()
        records = [Record.read(path).request for folder in folders for path in folder.glob("*.request.json")]
        self.keys = {request.stage: request.key for request in records}

    def restore(self) -> None:
        """Undoes whatever was planted."""
        shutil.copytree(REPOSITORY / "qatbuild/worker", self.package / "worker", dirs_exist_ok=True, ignore=_UNUSED)
        self.write("pyproject.toml", "[tool.qatbuild]\nstore = false\n")
        for name, text in (
            ("nets.py", NETS),
            ("layers.py", LAYERS),
            ("specs/table.txt", "1"),
            ("specs/data.bin", "pixels"),
        ):
            self.write(name, text)
        self.spec()

    def write(self, name: str, text: str) -> None:
        (self.toy.root / name).write_text(text)

    def spec(self, **sections: Any) -> None:
        """Writes the spec with some fields of its sections replaced."""
        self.toy.spec("net", **{name: {**SPEC[name], **sections.get(name, {})} for name in {**SPEC, **sections}})

    def build(self, *labels: str) -> None:
        result = build(Project.prepared(self.toy.root), labels, executor=ToyExecutor())
        assert result.ok, [row.error for row in result.outcomes.rows if row.error] + list(result.errors.values())

    def why(self, one: str, other: str) -> list[Cause]:
        loaded = LoadedProject.load(Project.at(self.toy.root), Everything())
        return causes(*Sides(loaded, None).pair(one, other))

    def causes(self, stage: str) -> list[Cause]:
        """Builds a stage again; what made its result differ from that of the first build."""
        self.build(f"net:{stage}")
        return self.why(self.keys[stage], f"net:{stage}")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    folder = tmp_path_factory.mktemp("why")
    package = folder / "qatbuild"
    shutil.copytree(REPOSITORY / "qatbuild", package, ignore=_UNUSED)
    (folder / "project").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        patch.setattr(Code, "load", lambda project, path: Code(project, FileCache(path, "code"), package))
        yield Planted(folder / "project", package)


@pytest.fixture
def planted(built: Planted) -> Iterator[Planted]:
    yield built
    built.restore()
    rebuild.toolchain.cache_clear()


def edited(name: str, old: str, new: str) -> Callable[[Planted, pytest.MonkeyPatch], None]:
    def plant(planted: Planted, _: pytest.MonkeyPatch) -> None:
        text = (planted.toy.root / name).read_text()
        assert old in text
        planted.write(name, text.replace(old, new, 1))

    return plant


def code(name: str) -> Callable[[Planted, pytest.MonkeyPatch], None]:
    """Adds a line to a module of qatbuild."""

    def plant(planted: Planted, _: pytest.MonkeyPatch) -> None:
        with (planted.package / name).open("a") as file:
            file.write("ADDED = 1\n")

    return plant


def field(pointer: str, value: object) -> Callable[[Planted, pytest.MonkeyPatch], None]:
    """Changes a field of the spec; the test asserts that the same field is named."""

    def plant(planted: Planted, _: pytest.MonkeyPatch) -> None:
        path = planted.toy.root / "specs/net.json"
        spec = json.loads(path.read_text())
        *above, name = pointer.strip("/").split("/")
        place = spec
        for each in above:
            place = place.setdefault(each, {})
        place[name] = value
        path.write_text(json.dumps(spec))

    return plant


def version(package: str, wanted: str) -> Callable[[Planted, pytest.MonkeyPatch], None]:
    def plant(_: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
        real = rebuild._version  # noqa: SLF001
        monkeypatch.setattr(rebuild, "_version", lambda name: wanted if name == package else real(name))
        rebuild.toolchain.cache_clear()

    return plant


def python(_: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "python_version_tuple", lambda: ("3", "99", "0"))
    rebuild.toolchain.cache_clear()


def threads(planted: Planted, _: pytest.MonkeyPatch) -> None:
    planted.write("pyproject.toml", "[tool.qatbuild]\nstore = false\nthreads = 99\n")


def devices(_: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")


def renamed(planted: Planted, _: pytest.MonkeyPatch) -> None:
    (planted.toy.root / "specs/table.txt").rename(planted.toy.root / "specs/other.txt")
    planted.spec(model={"files": ["other.txt"]})


def another_file(planted: Planted, _: pytest.MonkeyPatch) -> None:
    planted.write("specs/more.txt", "2")
    planted.spec(model={"files": ["table.txt", "more.txt"]})


def moved_function(planted: Planted, _: pytest.MonkeyPatch) -> None:
    planted.write("blocks.py", LAYERS)
    planted.write("nets.py", NETS.replace("layers", "blocks"))


def chain(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.write("specs/data.bin", "other pixels")
    field("/train/seed", 7)(planted, monkeypatch)
    edited("layers.py", "images * size", "images + size")(planted, monkeypatch)


THREADS = os.cpu_count() or 1
PYTHON = ".".join(platform.python_version_tuple()[:2])
PLANTS: list[tuple[Any, ...]] = [
    ("dataset.validation", field("/dataset/validation", 0.3), ["/dataset/validation: 0.2 -> 0.3"]),
    ("dataset.labels", field("/dataset/sha256", "0" * 64), [f'/dataset/sha256: null -> "{"0" * 64}"']),
    ("input.mean", field("/input/mean", 100), ["/inputs/images/mean: 121.0 -> 100.0"]),
    ("input.std_dev", field("/input/std_dev", 32), ["/inputs/images/std_dev: 64.0 -> 32.0"]),
    ("input.order", field("/input/order", "bgr"), ['/inputs/images/order: "rgb" -> "bgr"']),
    ("augment.pad_crop", field("/augment/pad_crop", 2), ["/augment/pad_crop: 4 -> 2"]),
    ("augment.flip", field("/augment/flip_left_right", True), ["/augment/flip_left_right: false -> true"]),
    ("model.options", field("/model/options/width", 16), ["/model/options/width: 8 -> 16"]),
    ("model.options, new", field("/model/options/depth", 2), ["/model/options/depth: null -> 2"]),
    ("train.steps", field("/train/steps", 50), ["/train/steps: 100 -> 50"]),
    ("train.batch_size", field("/train/batch_size", 64), ["/train/batch_size: 128 -> 64"]),
    ("train.rate", field("/train/learning_rate/initial", 0.2), ["/train/learning_rate/initial: 0.1 -> 0.2"]),
    (
        "train.momentum",
        field("/train/optimizer", {"name": "momentum", "momentum": 0.8}),
        ["/train/optimizer/momentum: 0.9 -> 0.8"],
    ),
    ("train.weight_decay", field("/train/weight_decay", 0.5), ["/train/weight_decay: 0.0 -> 0.5"]),
    ("train.seed", field("/train/seed", 7), ["/train/seed: 1 -> 7"]),
    ("train.checkpoint_every", field("/train/checkpoint_every", 20), ["/train/checkpoint_every: 10 -> 20"]),
    ("quantize.scheme", field("/quantize/scheme", "int8"), ['/quantize/scheme: "uint8" -> "int8"']),
    ("quantize.steps", field("/quantize/steps", 30), ["/quantize/steps: 20 -> 30"]),
    ("quantize.quant_delay", field("/quantize/quant_delay", 3), ["/quantize/quant_delay: 0 -> 3"]),
    ("quantize.freeze_bn", field("/quantize/freeze_bn_delay", 3), ["/quantize/freeze_bn_delay: null -> 3"]),
    (
        "quantize.rate",
        field("/quantize/learning_rate/initial", 0.02),
        ["/quantize/learning_rate/initial: 0.01 -> 0.02"],
    ),
    ("convert.checkpoint", field("/convert/checkpoint", 10), ['/convert/checkpoint: "last" -> 10']),
    ("evaluate.min_top1", field("/evaluate/min_top1", 20), ["/evaluate/min_top1: 10 -> 20"]),
    ("evaluate.latency_runs", field("/evaluate/latency_runs", 9), ["/evaluate/latency_runs: 7 -> 9"]),
    ("evaluate.max_drop", field("/evaluate/max_accuracy_drop", 2), ["/evaluate/max_accuracy_drop: 1.0 -> 2"]),
    ("evaluate.min_agreement", field("/evaluate/min_agreement", 2), ["/evaluate/min_agreement: null -> 2"]),
    ("data file", edited("specs/data.bin", "pixels", "others"), ["specs/data.bin changed"]),
    ("model's file", edited("specs/table.txt", "1", "2"), ["specs/table.txt changed"]),
    ("another file", another_file, ["specs/more.txt is new"]),
    ("renamed file", renamed, ["file: specs/table.txt -> specs/other.txt, with the same content"]),
    ("body of the network", edited("nets.py", "images, 3", "images, 5"), ["code: nets changed"], "export"),
    ("helper module", edited("layers.py", "images * size", "images"), ["code: layers changed"], "float"),
    (
        "another module",
        moved_function,
        ["code: blocks is new", "code: layers is gone", "code: nets changed"],
        "quantize",
    ),
    ("qatbuild's stage", code("worker/stages/freeze.py"), ["code: qatbuild.worker.stages.freeze changed"], "freeze"),
    (
        "qatbuild's data",
        code("worker/datasets/cifar10.py"),
        ["code: qatbuild.worker.datasets.cifar10 changed"],
        "dataset",
    ),
    ("package", version("ai-edge-litert", "9.9"), ["ai-edge-litert: 2.3.0 -> 9.9"]),
    ("missing package", version("tensorflow", ""), ["tensorflow: 2.21.0 -> absent"]),
    ("python", python, [f"python: {PYTHON} -> 3.99"]),
    ("threads", threads, [f"threads: {THREADS} -> 99"]),
    ("devices", devices, ["CUDA_VISIBLE_DEVICES: absent -> 1"]),
    ("three at once, upstream", chain, ["specs/data.bin changed", "code: layers changed", "/train/seed: 1 -> 7"]),
]


@pytest.mark.parametrize("row", PLANTS, ids=[each[0] for each in PLANTS])
def test_a_planted_cause_is_named_and_nothing_else(
    planted: Planted, monkeypatch: pytest.MonkeyPatch, row: tuple[Any, ...]
) -> None:
    _, plant, named, *stage = row
    plant(planted, monkeypatch)
    texts = [cause.reason.text for cause in planted.causes(*stage or ["evaluate"])]
    assert sorted(texts) == sorted(named)


def test_there_are_forty() -> None:
    assert len(PLANTS) >= 40


def comments(planted: Planted) -> None:
    planted.write("nets.py", NETS.replace("    if", "    # Which it is.\n\n    if").replace("Builds it", "Builds"))
    planted.write("layers.py", "def conv(images, size):\n    return (images\n      *size)\n")


def order_of_keys(planted: Planted) -> None:
    spec = json.loads((planted.toy.root / "specs/net.json").read_text())
    planted.write("specs/net.json", json.dumps({name: spec[name] for name in reversed(spec)}, indent=7))


def default_written_out(planted: Planted) -> None:
    planted.spec(augment={"flip_left_right": False}, train={"batch_size": 128})


def touched(planted: Planted) -> None:
    os.utime(planted.toy.root / "specs/data.bin")


@pytest.mark.parametrize("plant", [comments, order_of_keys, default_written_out, touched])
def test_what_changes_no_result_is_named_by_nothing(planted: Planted, plant: Callable[[Planted], None]) -> None:
    plant(planted)
    planted.build()
    for stage, key in planted.keys.items():
        assert planted.why(key, f"net:{stage}") == []


def test_an_edit_among_comments_and_formatting_is_the_only_line_named(planted: Planted) -> None:
    text = NETS.replace("images, 3", "images, 7").replace("if training", "# Comment.\n    if (training)")
    planted.write("nets.py", f"# New.\n{text}")
    (cause,) = planted.causes("export")
    assert [(line.sign, line.number, line.text.strip()) for line in cause.lines] == [
        ("-", 8, "return conv(images, 3)"),
        ("+", 10, "return conv(images, 7)"),
    ]


def test_a_cause_names_every_stage_that_it_concerns(planted: Planted) -> None:
    planted.spec(input={"std_dev": 32})
    (cause,) = planted.causes("evaluate")
    assert set(cause.stages) == {"export", "float", "quantize", "convert", "evaluate"}


def test_a_record_is_less_than_a_kilobyte(built: Planted) -> None:
    """The log of the build folder and the origin in the store together."""
    log = OriginLog(built.toy.root / "build/.qatbuild/origins")
    origins = [row.origin() for row in log.rows.values()]
    assert len(origins) >= 9
    in_store = sum(len(origin.packed()) for origin in origins if origin is not None)
    assert (log.path.stat().st_size + in_store) / len(origins) < 1000
    assert set(log.rows) >= set(built.keys.values())


def test_lines_that_were_cut_off_are_skipped_and_later_ones_are_whole(tmp_path: Path, built: Planted) -> None:
    whole = built.toy.root / "build/.qatbuild/origins"
    rows = OriginLog(whole).rows
    *_, last = rows.values()
    origin = last.origin()
    assert origin is not None
    cut = OriginLog(tmp_path / "origins")
    cut.path.write_bytes(whole.read_bytes()[:-40])
    assert cut.origin(last.key) is None
    for _ in range(2):
        log = OriginLog(cut.path)
        log.keep(origin)
        log.flush()
    assert OriginLog(cut.path).origin(last.key) == origin
    assert OriginLog(cut.path).rows.keys() == rows.keys() - set(last.line.keys) | {last.key}
    assert cut.path.read_text().count(last.key) == 2
