"""A plan as doit tasks: one file-based task a stage, a group for each label."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

from doit.exceptions import TaskFailed

from qatbuild.engine.execute import Executor
from qatbuild.engine.forecast import reasons
from qatbuild.engine.plan import STAGES, Plan, Stage
from qatbuild.engine.reason import Reason
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.engine.store import Store
from qatbuild.exchange.errors import AcceptanceError, ArtifactError, QatbuildError, StageError
from qatbuild.exchange.files import write_text
from qatbuild.exchange.lock import Owner, held
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from qatbuild.plugin.invocation import Asked
from qatbuild.plugin.reporter import Refused
from qatbuild.schema.load import RESERVED


class Builder:
    """What the tasks call: is it up to date, and build it."""

    def __init__(self, plan: Plan, rebuilder: Rebuilder, executor: Executor, kept: Path | None = None) -> None:
        """A builder of the stages of one plan; `kept` is the folder of the store, if there is to be one."""
        self.plan = plan
        self.rebuilder = rebuilder
        self.executor = executor
        self.reasons: dict[str, list[Reason]] = {}
        self.run: Asked | None = None
        self._made: set[str] = set()
        self.restorable = set[str]()
        self._kept = kept
        self._cleans = Owner(rebuilder.build / ".qatbuild" / "lock")

    def request(self, stage: Stage) -> Request:
        """The request of now for a planned stage."""
        return self.rebuilder.request(stage, {role: self.plan.stages[id_] for role, id_ in stage.inputs.items()})

    def is_current(self, stage: Stage) -> bool:
        """Whether the stage's artifacts are what its request of now would make; the reasons why not are kept."""
        found = self._reasons(stage)
        if found and self.run is not None and self.run.own():  # Whoever built here meanwhile may have built this.
            found = self._reasons(stage)
        self.reasons[stage.id] = found
        return not found

    def _reasons(self, stage: Stage) -> list[Reason]:
        try:
            request = self.request(stage)
            found = reasons(self.plan, self.rebuilder, stage, request)
            if found and self.store is not None and self.store.text(request.key) is not None:
                self.restorable.add(stage.id)
        except QatbuildError as error:
            found = [Reason("blocked", now=error.message)]
        self.rebuilder.save()
        return found

    def build(self, stage: Stage) -> dict[str, bool] | TaskFailed:
        """Run the stage, unless it is current: doit forgets what a killed build had finished, the disk does not."""
        try:
            with self._alone():
                request = self.request(stage)
                always = self.run is not None and self.run.always
                stale = bool(self.rebuilder.stale(request)) or always
                restored = stale and not always and self._restore(request)
                if stale and not restored:
                    self._run(request)
                if stale:
                    self._publish(request, stage, keep=not restored)
                self._made.add(stage.id)
                return {"ran": stale and not restored, "restored": restored}
        except AcceptanceError as error:
            return Refused(error.block())
        except QatbuildError as error:
            return TaskFailed(error.block())
        except OSError as fault:
            facts = [("stage", stage.id), ("file", fault.filename), ("reason", fault.strerror)]
            return TaskFailed(StageError("An artifact cannot be written or read.", facts).block())
        except KeyboardInterrupt:
            if self.run is not None:  # `doit run` says so, and once for all stages that ran side by side.
                raise
            sys.stderr.write("\ninterrupted; run doit again to go on\n")
            raise SystemExit(128 + signal.SIGINT) from None

    def _alone(self) -> AbstractContextManager[object]:
        """No other doit builds here meanwhile: `doit run` has seen to that, but not if doit was not told of it."""
        if self.run is not None and self.run.owned:
            return nullcontext()
        return held(self.rebuilder.build / ".qatbuild" / "lock")

    def verify(self, since_ns: int) -> dict[str, int]:
        """The stages that are up to date now: since when that is known, in ns. `since_ns` is when the build began."""
        known = {id_: since_ns for id_, reasons in self.reasons.items() if not reasons and id_ not in self._made}
        now = time.time_ns()
        for id_ in self._made:
            with contextlib.suppress(QatbuildError, OSError):
                if not self.rebuilder.stale(self.request(self.plan.stages[id_])):
                    known[id_] = now
        self.rebuilder.save()
        return known

    def code_files(self, stage: Stage) -> list[str]:
        """The files that a stage's code is in."""
        return self.rebuilder.code.files(stage.modules)

    @cached_property
    def store(self) -> Store | None:
        """Where results are kept. It is imported only when something is stale."""
        if self._kept is None:
            return None
        from qatbuild.engine.store.local import LocalStore  # noqa: PLC0415

        return LocalStore(self._kept, self.rebuilder.project, self.rebuilder.build)

    def _restore(self, request: Request) -> bool:
        """Take the result of the request from the store, as if it had been run; whether there was one."""
        made = None if self.store is None else self.store.fetch(request.key, request.out)
        if made is not None:
            write_text(Manifest.path_of(request.work, request.stage), made.to_json())
        return made is not None

    def _run(self, request: Request) -> None:
        try:
            self.executor.run(request)
        except AcceptanceError:
            # The model was refused: it is not built, but what there is of it is left to look at.
            request.folder.mkdir(parents=True, exist_ok=True)
            Manifest.path_of(request.folder, request.stage).unlink(missing_ok=True)
            for path in request.out.glob("*"):
                shutil.rmtree(request.folder / path.name, ignore_errors=True)
                path.replace(request.folder / path.name)
            raise

    def _publish(self, request: Request, stage: Stage, *, keep: bool) -> None:
        manifest = self.rebuilder.publish(request, stage)
        shutil.rmtree(request.work, ignore_errors=True)
        if keep and self.store is not None:
            try:
                self.store.keep(request.key, manifest)
            except OSError as fault:  # The stage is built: that it must be built again some day is no failure.
                sys.stderr.write(f"{stage.id} cannot be kept in the store: {fault}\n")

    def clean(self, stage: Stage) -> None:
        """Remove the stage's artifacts, also from the store: `doit clean`. It waits for a build that is under way."""
        try:
            if not self._cleans.is_me:  # Until this process ends.
                self._cleans.take()
            self._clean(stage)
        except OSError as fault:
            facts = [("file", fault.filename), ("reason", fault.strerror)]
            raise SystemExit(ArtifactError("An artifact cannot be removed.", facts).block()) from None

    def _clean(self, stage: Stage) -> None:
        folder = self.rebuilder.folder(stage)
        path = self.rebuilder.manifest_path(stage)
        record = Request.path_of(folder, stage.name)
        with contextlib.suppress(OSError, ValueError):
            if self.store is not None:
                self.store.forget(Request.from_json(record.read_text(encoding="utf-8")).key)
        try:
            names = list(Manifest.read(path).files)
        except ArtifactError:
            names = []
        for name in [*names, path.name, record.name, f"{stage.name}.run.json"]:
            (folder / name).unlink(missing_ok=True)


def tasks(
    plan: Plan, descriptions: dict[str, str], errors: dict[str, QatbuildError], builder: Builder
) -> Iterator[dict[str, Any]]:
    """Every task of a plan. `descriptions` and `errors` are by the names of the specs."""
    # doit keeps a group's sub-tasks only if the group itself comes before them.
    yield from _groups(plan, descriptions)
    yield from _stage_tasks(plan, builder)
    yield from _failing(errors, set(descriptions))


def _task_name(stage: Stage) -> tuple[str, str]:
    """The doit basename and name: LABEL:STAGE, or shared:STAGE-RECIPE."""
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
            "actions": [(builder.build, [stage])],
            "file_dep": [*map(str, upstream), *_files(stage)],
            "task_dep": [":".join(_task_name(plan.stages[id_])) for id_ in (*stage.inputs.values(), *stage.after)]
            + _judged(stage),
            "targets": [str(builder.rebuilder.manifest_path(stage))],
            "uptodate": [current(stage)],
            "clean": [(builder.clean, [stage])],
            "meta": {"stage": stage},
            "io": {"capture": False},  # A stage's own output is in its log; and doit captures for all threads at once.
        }


def _judged(stage: Stage) -> list[str]:
    """What must have been done before, without being an input: a model is judged before it is sent anywhere."""
    return [f"{stage.labels[0]}:evaluate"] if stage.route else []


def _files(stage: Stage) -> list[str]:
    """The user's files that doit can watch: those that are there. What is missing, the stage itself will say."""
    return [path for path in stage.sources.values() if os.path.isfile(path)]  # noqa: PTH113  Called once a stage and run.


def _groups(plan: Plan, descriptions: dict[str, str]) -> Iterator[dict[str, Any]]:
    if plan.stages:
        yield {"basename": "shared", "name": None, "doc": "the stages that models have in common, all of them"}
    variants: dict[str, list[str]] = {}
    for label, ids in plan.labels.items():
        spec, _, variant = label.partition("@")
        variants.setdefault(spec, [])
        if variant:
            variants[spec].append(label)
        doc = descriptions[spec] or f"build {label}"
        yield {"basename": label, "name": None, "doc": f"{doc} ({variant})" if variant else doc}
        for name, id_ in ids.items():
            if plan.stages[id_].home != label and not plan.stages[id_].route:
                shared = ":".join(_task_name(plan.stages[id_]))
                yield {
                    "basename": label,
                    "name": name,
                    "actions": None,
                    "task_dep": [shared],
                    "doc": f"{name} of {label}",
                }
        routes = [f"{label}:{name}" for name, id_ in ids.items() if plan.stages[id_].route]
        if routes:
            yield {
                "basename": label,
                "name": "deploy",
                "actions": None,
                "task_dep": routes,
                "doc": f"routes of {label}",
            }
    yield from _variants(plan, descriptions, variants)


def _variants(plan: Plan, descriptions: dict[str, str], variants: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    for spec, labels in variants.items():
        if labels:
            yield {"basename": spec, "name": None, "doc": descriptions[spec] or f"build all variants of {spec}"}
            routes = sorted(
                {name for label in labels for name, id_ in plan.labels[label].items() if plan.stages[id_].route}
            )
            for name in (*STAGES, *routes):
                having = [f"{label}:{name}" for label in labels if name in plan.labels[label]]
                if having:
                    yield {
                        "basename": spec,
                        "name": name,
                        "actions": None,
                        "task_dep": having,
                        "doc": f"{name} of {spec}",
                    }


def _failing(errors: dict[str, QatbuildError], taken: set[str]) -> Iterator[dict[str, Any]]:
    """A spec with faults is a task that fails and says so; the other specs are none the worse for it."""
    for spec, error in errors.items():

        def fail(block: str = error.block()) -> TaskFailed:
            return TaskFailed(block)

        # The name itself may be the fault: doit takes "a=b" for a variable and "list" for a command.
        label = re.sub(r"[^A-Za-z0-9_./-]", "_", spec)
        while label.partition("/")[0] in RESERVED or label in taken:
            label += "_"
        taken.add(label)
        yield {"basename": label, "name": None, "doc": f"cannot be built: {error.message}"}
        yield {"basename": label, "name": "spec", "actions": [fail], "doc": error.message}
        for name in (*STAGES, "deploy"):
            yield {
                "basename": label,
                "name": name,
                "actions": None,
                "task_dep": [f"{label}:spec"],
                "doc": error.message,
            }
