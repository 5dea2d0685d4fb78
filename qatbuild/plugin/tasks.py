"""A plan as doit tasks: one file-based task per stage, and a group per label."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from doit.action import BaseAction
from doit.exceptions import BaseFail, TaskError, TaskFailed

from qatbuild.engine.build import Builder
from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.outcome import Fate
from qatbuild.engine.plan import STAGES, Plan, Stage
from qatbuild.engine.up_to_date_record import Recorded
from qatbuild.exchange.errors import AcceptanceError, QatbuildError, printable
from qatbuild.plugin.reporter import Refused
from qatbuild.schema.label import SHARED, Label
from qatbuild.schema.load import RESERVED

_LONGEST_DOC = 400
_FAULT = "fault"
"""Key in `meta` of the tasks of a spec with faults: its error's block."""

_SHARED_GROUP = {"basename": SHARED, "doc": "all stages that several models share"}


def tasks(loaded: LoadedProject, builder: Builder, *, parts: bool = True) -> Iterator[dict[str, Any]]:
    """Yields the tasks of a loaded project: its stages, and its labels and specs as groups.

    With `parts`, also the tasks that are second names: LABEL:STAGE for a shared stage, SPEC:STAGE for all variants. A
    build only needs them if one is requested; they are nearly half of all tasks.
    """
    # doit keeps a group's sub-tasks only if the group itself comes before them.
    yield from _groups(loaded.plan, loaded.descriptions, parts=parts)
    yield from _stage_tasks(loaded.plan, builder)
    yield from _failing(faulty(loaded))


def listed(recorded: Mapping[str, Recorded], *, shared: bool) -> Iterator[dict[str, Any]]:
    """Yields the groups of specs that are not loaded, without their stages: for `doit list`."""
    if shared:
        yield _SHARED_GROUP | {"actions": None}
    for spec, (description, routes) in recorded.items():
        for label in routes:
            yield {"basename": label, "actions": None, "doc": _doc(label, description)}
        if spec not in routes:
            yield {"basename": spec, "actions": None, "doc": _doc_of_variants(spec, description)}


def _task_name(stage: Stage) -> tuple[str, str]:
    """Returns doit's (basename, name) of a stage: (LABEL, STAGE) or ("shared", STAGE-RECIPE)."""
    if stage.home in stage.labels or stage.route:
        return stage.labels[0], stage.name
    top, _, rest = stage.home.partition("/")
    return top, rest


def _stage_tasks(plan: Plan, builder: Builder) -> Iterator[dict[str, Any]]:
    def current(stage: Stage) -> Callable[[], bool]:
        return lambda: builder.is_current(stage)

    for stage in plan.stages.values():
        basename, name = _task_name(stage)
        upstream = [builder.rebuilder.manifest_path(plan.stages[id_]) for id_ in stage.inputs.values()]
        yield {
            "basename": basename,
            "name": name,
            "doc": f"{stage.name} of {', '.join(stage.labels)}",
            "actions": [_StageAction(_build, builder, stage)],
            "file_dep": [*map(str, upstream), *_files(stage)],
            "task_dep": [":".join(_task_name(plan.stages[id_])) for id_ in stage.prerequisites],
            "targets": [str(builder.rebuilder.manifest_path(stage))],
            "uptodate": [current(stage)],
            "clean": [_StageAction(_clean, builder, stage)],
            "meta": {"stage": stage},
            "io": {"capture": False},  # A stage's own output is in its log; and doit captures for all threads at once.
        }


class _StageAction(BaseAction):  # type: ignore[misc]
    """Calls a function with a builder and a stage; doit's own PythonAction inspects its signature at every call."""

    __slots__ = ("_builder", "_function", "_stage", "err", "out", "result", "task", "values")

    def __init__(self, function: Callable[[Builder, Stage], Any], builder: Builder, stage: Stage) -> None:
        self._function = function
        self._builder = builder
        self._stage = stage
        self.task: Any = None
        self.out = self.err = None
        self.result: Any = None
        self.values: dict[str, bool] = {}

    def execute(self, out: Any = None, err: Any = None) -> BaseFail | None:  # noqa: ARG002
        """Called by doit; returns a failure, or None."""
        try:
            result = self._function(self._builder, self._stage)
        except Exception as fault:  # noqa: BLE001  doit prints its traceback.
            return TaskError("PythonAction Error", fault)
        if isinstance(result, BaseFail):
            return result
        self.result = self.values = result or {}
        return None

    def __str__(self) -> str:
        return f"{self._function.__name__.strip('_')} {self._stage.id}"


def _build(builder: Builder, stage: Stage) -> dict[str, bool] | TaskFailed:
    """Builds a stage, with results and errors in doit's terms. An unexpected error is raised."""
    try:
        fate = builder.build(stage)
    except AcceptanceError as error:
        return Refused(error.block())
    except QatbuildError as error:
        return TaskFailed(error.block())
    except KeyboardInterrupt:
        if builder.has_lock:  # `doit run` reports the interrupt, once for all stages that ran side by side.
            raise
        sys.stderr.write("\ninterrupted; run doit again to go on\n")
        raise SystemExit(128 + signal.SIGINT) from None
    return {"ran": fate is Fate.BUILT, "restored": fate is Fate.RESTORED}


def _clean(builder: Builder, stage: Stage) -> None:
    """Removes a stage's artifacts, for `doit clean`. An error ends the command: doit would print it and go on."""
    try:
        builder.cleaner.clean(stage)
    except QatbuildError as error:
        raise SystemExit(error.block()) from None


def _files(stage: Stage) -> list[str]:
    """Returns the sources that are files, which doit can watch. The stage reports a missing source."""
    return [path for path in stage.sources.values() if os.path.isfile(path)]  # noqa: PTH113  Called once a stage and run.


def _groups(plan: Plan, descriptions: Mapping[str, str], *, parts: bool) -> Iterator[dict[str, Any]]:
    variants: dict[str, list[str]] = {}
    for label, ids in plan.labels.items():
        spec, variant, _ = Label.parse(label)
        variants.setdefault(spec, [])
        if variant:
            variants[spec].append(label)
        group = {"basename": label, "name": None, "doc": _doc(label, descriptions[spec])}
        shared = {
            name: ":".join(_task_name(plan.stages[id_]))
            for name, id_ in ids.items()
            if plan.stages[id_].home != label and not plan.stages[id_].route
        }
        routes = [f"{label}:{name}" for name, id_ in ids.items() if plan.stages[id_].route]
        if parts:
            yield group
            yield from (_part(label, name, [task]) for name, task in shared.items())
            if routes:
                yield _part(label, "deploy", routes) | {"doc": f"routes of {label}"}
        else:
            yield group | {"task_dep": list(shared.values())}
    yield from _variants(plan, descriptions, variants, parts=parts)
    if plan.stages:  # Last: a plain `doit` selects the groups in this order, and would train all models first.
        yield _SHARED_GROUP | {"name": None}


def _doc(label: str, description: str) -> str:
    variant = Label.parse(label).variant
    text = printable(description, _LONGEST_DOC) or f"build {label}"
    return f"{text} ({variant})" if variant else text


def _doc_of_variants(spec: str, description: str) -> str:
    return printable(description, _LONGEST_DOC) or f"build all variants of {spec}"


def _part(group: str, name: str, tasks: list[str]) -> dict[str, Any]:
    """Returns a task that is a second name for other tasks."""
    return {"basename": group, "name": name, "actions": None, "task_dep": tasks, "doc": f"{name} of {group}"}


def _variants(
    plan: Plan, descriptions: Mapping[str, str], variants: dict[str, list[str]], *, parts: bool
) -> Iterator[dict[str, Any]]:
    for spec, labels in variants.items():
        group = {"basename": spec, "name": None, "doc": _doc_of_variants(spec, descriptions[spec])}
        if not labels:
            continue
        yield group | {"task_dep": labels}
        if parts:
            routes = sorted(
                {name for label in labels for name, id_ in plan.labels[label].items() if plan.stages[id_].route}
            )
            for name in (*STAGES, *routes):
                having = [f"{label}:{name}" for label in labels if name in plan.labels[label]]
                if having:
                    yield _part(spec, name, having)
            if routes:
                yield _part(spec, "deploy", [f"{label}:deploy" for label in labels if plan.routes[label]])


def faulty(loaded: LoadedProject) -> dict[str, QatbuildError]:
    """Returns the errors of specs with faults by the names of their tasks.

    A spec's name may make no name of a task: doit reads "a=b" as a variable and "list" as a command.
    """
    names: dict[str, QatbuildError] = {}
    for spec, error in loaded.errors.items():
        folder, *rest = re.sub(r"[^A-Za-z0-9_./-]", "_", spec).split("/")
        while (name := "/".join([folder, *rest])) in loaded.descriptions or name in names or folder in RESERVED:
            folder += "_"
        names[name] = error
    return names


def is_faulty(task: Any) -> bool:
    """Returns whether a task of doit is a spec's with faults, which can only fail."""
    return bool(fault_of(task))


def fault_of(task: Any) -> str:
    """Returns the block about the faults of a task's spec; '' for any other task."""
    return str((task.meta or {}).get(_FAULT, ""))


def _failing(errors: Mapping[str, QatbuildError]) -> Iterator[dict[str, Any]]:
    """Yields failing tasks for specs with faults; the other specs are not affected."""
    for name, error in errors.items():

        def fail(block: str = error.block()) -> TaskFailed:
            return TaskFailed(block)

        doc, meta = printable(error.message, _LONGEST_DOC), {_FAULT: error.block()}
        yield {"basename": name, "name": None, "doc": f"cannot be built: {doc}", "meta": meta}
        yield {"basename": name, "name": "spec", "actions": [fail], "doc": doc, "meta": meta}
        yield from (_part(name, part, [f"{name}:spec"]) | {"doc": doc, "meta": meta} for part in (*STAGES, "deploy"))
