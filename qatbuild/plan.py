"""Variants -> stages, as data. Pure: nothing here looks at the disk.

A stage's recipe is the digest of what it is made of as the spec says it: its own slice of the spec, the files that it
names, and the recipes of its inputs. Two stages with one recipe are one stage, whoever asks for them. The stages that cost
time (dataset, float, quantize) live below build/shared under their recipe; the others belong to their label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any

from qatbuild.artifact import canonical_json
from qatbuild.errors import PlanError
from qatbuild.spec.model import Variant

STAGES = ("dataset", "float", "quantize", "export", "freeze", "convert", "evaluate")
_SHARED = {"dataset", "float", "quantize"}
_TENSORFLOW = ("tensorflow", "numpy")
_DATASET_PACKAGES = {"digits": ("scikit-learn",), "images": ("pillow",)}


@dataclass(frozen=True)
class Stage:
    """One stage to have done: `home` is its folder below the build root, `labels` who wants it, first comes first.

    `inputs` maps a role to the `id` of an upstream stage, `sources` a role to a path of the user's. `modules` are
    where its code begins, `packages` the installed packages whose version counts.
    """

    name: str
    home: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    sources: Mapping[str, str]
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    recipe: str
    labels: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Its one name in a plan: a label's own stage reads LABEL:STAGE."""
        return f"{self.home}:{self.name}"


@dataclass
class Plan:
    """All stages of some variants: by id, and by label and stage name."""

    stages: dict[str, Stage] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)


def plan(variants: Iterable[Variant], root: PurePath) -> Plan:
    """The stages of the variants. PlanError if two specs claim one label."""
    result = Plan()
    files: dict[str, object] = {}
    for variant in variants:
        if variant.label in result.labels:
            facts = [("label", variant.label), ("first", files[variant.label]), ("second", variant.file)]
            raise PlanError("Two specs claim one label.", facts, "rename one of the files")
        files[variant.label] = variant.file
        result.labels[variant.label] = ids = {}
        for stage in _stages(variant, root):
            known = result.stages.get(stage.id, stage)
            result.stages[stage.id] = _wanted(known, variant.label)
            ids[stage.name] = stage.id
    return result


def _stages(variant: Variant, root: PurePath) -> list[Stage]:
    made: dict[str, Stage] = {}
    field_modules = [f"qatbuild.datasets.{variant.dataset.name}"]
    network = _network(variant)
    scratch = variant.quantize.start == "scratch"

    def add(name: str, settings: Mapping[str, Any], inputs: Iterable[str] = (), sources: Mapping[str, str | None] | None = None,
            modules: Iterable[str] = (), packages: Iterable[str] = _TENSORFLOW) -> None:  # fmt: skip
        given = {role: path for role, path in (sources or {}).items() if path is not None}
        inside = {role: _relative(path, root) for role, path in given.items()}
        recipe = _digest([name, settings, inside, {role: made[role].recipe for role in inputs}])
        home = f"shared/{name}-{recipe[:12]}" if name in _SHARED else variant.label
        code = ("qatbuild.worker", f"qatbuild.stages.{name}", *modules)
        made[name] = Stage(name, home, settings, {role: made[role].id for role in inputs}, given, code, tuple(packages), recipe)

    spec = {part: asdict(getattr(variant, part)) for part in ("dataset", "input", "augment", "train", "quantize", "convert", "evaluate")}
    dataset = {name: value for name, value in spec["dataset"].items() if name != "path"}
    model = {name: value for name, value in asdict(variant.model).items() if value is not None and name != "weights"}
    training = {"input": spec["input"], "augment": spec["augment"], "model": model, "train": spec["train"]}
    scheme = {"scheme": spec["quantize"]["scheme"]}
    packages = ("numpy", *_DATASET_PACKAGES.get(variant.dataset.name, ()))
    add("dataset", {"dataset": dataset}, (), {"data": variant.dataset.path}, field_modules, packages)
    if not scratch:
        settings = training if variant.model.weights is None else {**training, "model": {**model, "weights": True}}
        add("float", settings, ("dataset",), {"weights": variant.model.weights}, network)
    start = ("dataset",) if scratch else ("dataset", "float")
    add("quantize", {**training, "quantize": spec["quantize"]}, start, {}, network)
    add("export", {"input": spec["input"], "model": model, "quantize": scheme}, ("dataset",), {}, network)
    checkpoints = ("quantize",) if scratch else ("quantize", "float")
    add("freeze", {"convert": spec["convert"]}, ("export", *checkpoints))
    runtime = (*_TENSORFLOW, "ai-edge-litert")
    add("convert", {"input": spec["input"], "quantize": scheme}, ("export", "freeze"), {}, (), runtime)
    settings = {"label": variant.label, "input": spec["input"], "evaluate": spec["evaluate"]}
    add("evaluate", settings, ("dataset", "freeze", "convert"), {}, (), runtime)
    return list(made.values())


def _network(variant: Variant) -> tuple[str, ...]:
    if variant.model.call is not None:
        return (variant.model.call.partition(":")[0],)
    return (f"qatbuild.models.{variant.model.name}",)


def _wanted(stage: Stage, label: str) -> Stage:
    fields = {name: getattr(stage, name) for name in stage.__dataclass_fields__}
    return Stage(**{**fields, "labels": (*stage.labels, label)})


def _relative(path: str, root: PurePath) -> str:
    pure = PurePath(path)
    return pure.relative_to(root).as_posix() if pure.is_relative_to(root) else pure.as_posix()


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
