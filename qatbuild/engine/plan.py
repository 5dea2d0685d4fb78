"""Turns variants into stages, as data. Nothing here reads the disk.

A stage's recipe is the digest of its slice of the spec, the paths of its files, and the recipes of its inputs. Stages
with equal recipes are the same stage, which several labels share. The slow stages and their inputs (dataset, check,
float, quantize) have a folder build/shared/STAGE-RECIPE; the others have one below their label's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from qatbuild.engine.plan_ends import ends_settings, task_modules
from qatbuild.exchange.errors import PlanError
from qatbuild.exchange.files import canonical_json
from qatbuild.schema.label import SHARED, route_of, stage_of
from qatbuild.schema.methods import FIELDS_OF_METHOD
from qatbuild.schema.model import Variant, plain
from qatbuild.schema.routes import NEEDS
from qatbuild.schema.rules.dataset import KINDS_OF_FIELD

STAGES = ("dataset", "check", "float", "quantize", "export", "freeze", "convert", "evaluate")
_SECTIONS = ("augment", "model", "train", "quantize", "convert", "evaluate")
_SHARED = {"dataset", "check", "float", "quantize"}
_TENSORFLOW = ("tensorflow", "numpy")
_KERAS = ("keras",)
_FILES = ("keras", "saved_model", "graph_def", "meta_graph")
_MODULES = {"keras": "keras_model", "graph_def": "frozen_graph"}
"""Kind of network -> the module of worker/models that reads it, where that has another name."""

_DEPLOY_FOLDER = Path(__file__).parents[1] / "worker" / "deploy"
_DATASET_PACKAGES = {"digits": ("scikit-learn",), "images": ("pillow",), "tfrecord": ("pillow", "tensorflow")}
_PICTURES = ("images", "tfrecord")
_SCORED = ("multilabel", "reconstruction")
"""The tasks with metrics of scikit-learn."""


class Stage(NamedTuple):
    """One stage.

    name      dataset, float, ..., deploy.vela
    home      its folder, relative to the build root
    settings  its slice of the spec
    inputs    role -> `id` of an upstream stage
    sources   role -> path of a file or folder of the user
    modules   Python modules from which its code is reached
    packages  installed packages whose versions count
    recipe    see the module's docstring
    after     ids of stages that run earlier without being inputs
    labels    the labels that need it, in the order of the plan
    """

    name: str
    home: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    sources: Mapping[str, str]
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    recipe: str
    after: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def route(self) -> str:
        """The deployment route of the stage: vela for deploy.vela; '' for every other stage."""
        return route_of(self.name)

    @property
    def prerequisites(self) -> tuple[str, ...]:
        """The ids of the stages that must succeed before this one: its inputs, and those it only comes after."""
        return tuple(dict.fromkeys((*self.inputs.values(), *self.after)))

    @property
    def id(self) -> str:
        """Unique name in a plan, HOME:STAGE; for a stage of a label only, LABEL:STAGE."""
        return f"{self.home}:{self.name}"


class Plan(NamedTuple):
    """All stages of some variants, by id; and the ids by label and stage name."""

    stages: dict[str, Stage]
    labels: dict[str, dict[str, str]]

    @property
    def routes(self) -> dict[str, list[str]]:
        """The deployment routes by label."""
        return {
            label: [route for id_ in ids.values() if (route := self.stages[id_].route)]
            for label, ids in self.labels.items()
        }


def plan(variants: Iterable[Variant], root: PurePath) -> Plan:
    """Returns the stages of the variants. PlanError if two specs have the same label."""
    result = Plan({}, {})
    files: dict[str, object] = {}
    for variant in variants:
        if variant.label in result.labels:
            facts = [("label", variant.label), ("first", files[variant.label]), ("second", variant.file)]
            raise PlanError("Two specs have the same label.", facts, "rename one of the files")
        files[variant.label] = variant.file
        result.labels[variant.label] = ids = {}
        for stage in _stages(variant, root):
            planned = result.stages.get(stage.id, stage)
            # Labels with different checks share a training: the failed check of one must not prevent it for the other.
            after = planned.after if planned.after == stage.after else ()
            result.stages[stage.id] = planned._replace(labels=(*planned.labels, variant.label), after=after)
            ids[stage.name] = stage.id
    return result


def in_order(plan: Plan, ids: Iterable[str]) -> Iterator[Stage]:
    """Yields the stages and their prerequisites, prerequisites first, one model to its end before the next."""
    seen = set[str]()
    waiting = [(id_, False) for id_ in reversed(list(ids))]
    while waiting:
        id_, is_ready = waiting.pop()
        stage = plan.stages[id_]
        if is_ready:
            yield stage
        elif id_ not in seen:
            seen.add(id_)
            waiting.append((id_, True))
            waiting.extend((each, False) for each in reversed(stage.prerequisites))


class _Chain(NamedTuple):
    """The stages of one variant by name, added in the order of their dependencies."""

    label: str
    root: PurePath
    made: dict[str, Stage]

    def add(
        self,
        name: str,
        settings: Mapping[str, Any],
        *,
        inputs: Iterable[str] = (),
        sources: Mapping[str, str | None] | None = None,
        modules: Iterable[str] = (),
        packages: Iterable[str] = _TENSORFLOW,
        after: Iterable[str] = (),
    ) -> None:
        """Adds a stage. `inputs` and `after` name earlier ones; `sources` are paths by role, None for no file."""
        paths = {role: path for role, path in (sources or {}).items() if path is not None}
        inside = {role: _relative(path, self.root) for role, path in paths.items()}
        upstream = {role: self.made[role] for role in inputs}
        recipe = _digest([name, settings, inside, {role: stage.recipe for role, stage in upstream.items()}])
        self.made[name] = Stage(
            name=name,
            home=_home(name, recipe, self.label),
            settings=settings,
            inputs={role: stage.id for role, stage in upstream.items()},
            sources=paths,
            modules=("qatbuild.worker.run", *modules)
            if route_of(name)
            else ("qatbuild.worker.run", f"qatbuild.worker.stages.{name}", *modules),
            packages=tuple(packages),
            recipe=recipe,
            after=tuple(self.made[name].id for name in after),
        )


def _stages(variant: Variant, root: PurePath) -> list[Stage]:
    """Returns the stages of one variant. Each has only those parts of the spec in its settings that it reads."""
    chain = _Chain(variant.label, root, {})
    spec: dict[str, Any] = {name: plain(getattr(variant, name)) for name in _SECTIONS}
    weights = spec["model"].pop("weights")
    model, files = _model(spec["model"], root)
    ends = ends_settings(variant)
    training = {**ends, "augment": spec["augment"], "model": model, "train": spec["train"]}
    scheme = {"scheme": variant.quantize.scheme}
    tasks = task_modules(variant)
    network = (*_network(variant), *tasks)
    runtime = (*_TENSORFLOW, "ai-edge-litert")

    _dataset(chain, variant)
    rewritten = {**ends, "model": model, "quantize": {**scheme, "mode": variant.quantize.mode}}
    rewritten["quantize"]["overrides"] = spec["quantize"]["overrides"]
    built = {"modules": network, "packages": (*_TENSORFLOW, *_KERAS) if _may_be_keras(variant) else _TENSORFLOW}
    reading = {**built, "packages": (*built["packages"], *_reading(variant))}
    wing = f"qatbuild.quantize.{variant.quantize.mode}"  # quantize/modes.py imports it by name.
    chain.add(
        "check", rewritten, inputs=("dataset",), sources=files, **{**built, "modules": (*network, f"{wing}.check")}
    )
    checked = ["dataset", "check"]
    trained = []
    if variant.quantize.start == "float":
        sources = {**files, "weights": weights}
        chain.add("float", training, inputs=("dataset",), sources=sources, after=("check",), **reading)
        trained = ["float"]
    measured = ("qatbuild.worker.stages.calibrate",) if variant.quantize.method == "ptq" else ()
    rewriting = (*network, f"{wing}.rewrite")
    quantizing = {**reading, "modules": (*rewriting, *measured)}
    quantized = _quantized(variant, training, spec["quantize"])
    chain.add("quantize", quantized, inputs=(*checked, *trained), sources=files, **quantizing)
    chain.add("export", rewritten, inputs=checked, sources=files, **{**built, "modules": rewriting})
    chain.add("freeze", {"convert": spec["convert"]}, inputs=("export", "quantize", *trained))
    chain.add("convert", {**ends, "quantize": scheme}, inputs=("export", "freeze"), packages=runtime)
    chain.add(
        "evaluate",
        {"label": variant.label, **ends, "evaluate": spec["evaluate"]},
        inputs=("dataset", "freeze", "convert"),
        modules=tasks,
        packages=(*runtime, *_reading(variant)),
    )
    _deploy(chain, variant, ends)
    return list(chain.made.values())


def _model(fields: Mapping[str, Any], root: PurePath) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Returns the settings of a network, which have its file by name only, and its files by role."""
    settings = {name: value for name, value in fields.items() if value is not None}
    files = {"network": next((settings[kind] for kind in _FILES if kind in settings), None)}
    files |= {f"file {_relative(path, root)}": path for path in settings.pop("files")}
    settings.update({kind: PurePath(settings[kind]).name for kind in _FILES if kind in settings})
    return settings, files


def _dataset(chain: _Chain, variant: Variant) -> None:
    """Adds the stage of the dataset, with the fields and modules of its kind only."""
    kind = variant.dataset.name
    fields = plain(variant.dataset)
    path, table = fields.pop("path"), fields["table"]
    sources = {"data": path, "table": table}
    if path is not None and table is not None:
        fields["table"] = os.path.relpath(table, path)
    settings = {name: value for name, value in fields.items() if kind in KINDS_OF_FIELD.get(name, (kind,))}
    chain.add(
        "dataset",
        {"dataset": settings},
        sources=sources,
        modules=(f"qatbuild.worker.datasets.{kind}", *_module(variant.dataset.call)),
        packages=("numpy", *_DATASET_PACKAGES.get(kind, ())),
    )


def _reading(variant: Variant) -> tuple[str, ...]:
    """Returns the packages that read the examples and measure the tasks of a variant, beside the usual ones."""
    decoding = {"pillow"} if variant.dataset.name in _PICTURES else set()
    measuring = {"scikit-learn"} if any(each.task in _SCORED for each in variant.outputs.values()) else set()
    return tuple(sorted(decoding | measuring))


def _module(call: str | None) -> tuple[str, ...]:
    return () if call is None else (call.partition(":")[0],)


def _quantized(variant: Variant, training: Mapping[str, Any], quantize: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of the quantize stage: of a training, or of a calibration, without those of the other."""
    method = variant.quantize.method
    foreign = {name for other, names in FIELDS_OF_METHOD.items() if other != method for name in names}
    settings = {**training, "quantize": {name: value for name, value in quantize.items() if name not in foreign}}
    train = training["train"]
    if method == "ptq":  # Calibration augments nothing, and uses the seed only to choose images.
        del settings["augment"]
        return {**settings, "train": {"seed": train["seed"]}}
    of_float = {"steps", "learning_rate", "checkpoint_every"} if variant.quantize.start == "float" else set()
    return {**settings, "train": {name: value for name, value in train.items() if name not in of_float}}


def _deploy(chain: _Chain, variant: Variant, ends: Mapping[str, Any]) -> None:
    """Adds a stage for each route, with the options and modules of this route only."""
    for route, options in variant.deploy.items():
        needs, settings = NEEDS[route], plain(options)
        # An absolute path stays; a name is relative to the folder of the routes' modules.
        sources = {role: str(_DEPLOY_FOLDER / path) for role, path in needs.sources.items()}
        sources |= {path: settings.pop(path) for path in needs.paths}
        chain.add(
            stage_of(route),
            {
                "label": variant.label,
                **ends,
                "quantize": {"scheme": variant.quantize.scheme},
                route: settings,
            },
            inputs=("dataset", "freeze", "convert") if needs.reads_graphs else ("dataset", "convert"),
            sources=sources,
            modules=("qatbuild.worker.stages.deploy", *task_modules(variant), f"qatbuild.worker.deploy.{route}"),
            packages=("numpy", "ai-edge-litert", *needs.packages, *_reading(variant)),
            after=("evaluate",),  # A model that a gate refuses is not deployed.
        )


def _home(name: str, recipe: str, label: str) -> str:
    if name in _SHARED:
        return f"{SHARED}/{name}-{recipe[:12]}"
    return f"{label}/deploy/{route}" if (route := route_of(name)) else label


def _network(variant: Variant) -> tuple[str, ...]:
    """Returns the modules of this network."""
    model = variant.model
    if model.call is not None:
        return (model.call.partition(":")[0], "qatbuild.worker.models.keras_model")
    if model.name is not None:
        return (f"qatbuild.worker.models.{model.name}",)
    kind = next(name for name in _FILES if getattr(model, name) is not None)
    return (f"qatbuild.worker.models.{_MODULES.get(kind, kind)}",)


def _may_be_keras(variant: Variant) -> bool:
    return variant.model.keras is not None or variant.model.call is not None


def _relative(path: str, root: PurePath) -> str:
    pure = PurePath(path)
    return pure.relative_to(root).as_posix() if pure.is_relative_to(root) else pure.as_posix()


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
