"""Builds stages: `Builder` one at a time, as any scheduler asks for them; `build` a project's labels in order.

    from qatbuild.engine.build import build
    from qatbuild.engine.project import Project

    result = build(Project.prepared(Path.cwd()), ["cnn@int8"])

Both take the build lock, use the store and leave the same files. doit schedules a Builder through plugin/tasks.py.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from qatbuild.engine.build_lock import BuildLock
from qatbuild.engine.closing import Pages
from qatbuild.engine.execute import Executor
from qatbuild.engine.execute.choice import chosen
from qatbuild.engine.fast_path import FastPath, Verified
from qatbuild.engine.forecast import freshness
from qatbuild.engine.in_order import end, outcomes_of
from qatbuild.engine.live.monitor import Monitor, Say
from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.outcome import Fate, Outcomes, Result
from qatbuild.engine.plan import Stage, in_order
from qatbuild.engine.project import Everything, Project
from qatbuild.engine.reason import Reason
from qatbuild.engine.rebuild import Freshness, Rebuilder
from qatbuild.engine.scratch import Scratch
from qatbuild.engine.store import Store
from qatbuild.engine.supply import Supply, may_stay
from qatbuild.exchange.errors import AcceptanceError, QatbuildError, StageError, system_facts, system_hint
from qatbuild.exchange.file_state import TICK_NS
from qatbuild.exchange.lock import held
from qatbuild.exchange.request import Request

if TYPE_CHECKING:
    from qatbuild.engine.cleaning import Cleaner
    from qatbuild.engine.papers.writing import Papers


_ELSEWHERE = Reason("elsewhere", now="its artifacts are in the cache only")


def build(
    project: Project,
    labels: Sequence[str] = (),
    *,
    executor: Executor | None = None,
    always: bool = False,
    whole: bool = False,
    keep_going: bool = True,
    say: Say = lambda _: None,
    events: Path | None = None,
) -> Result:
    """Builds labels (specs, labels, or either with :STAGE; by default the project's) and everything they depend on.

    `executor` runs the requests; by default that of the settings, which ends with the build. `always` runs stages that
    are up to date, too; `whole` fetches those of their artifacts that are only in a cache. Without `keep_going`
    the first failure ends the build. `say` receives the texts that `doit` would print; on a terminal, live lines are
    below them. `events` is a file for events. The record of up-to-date specs is used and written if the project's root
    is the working directory. SpecError for an unknown label, ArtifactError for a page or events that cannot be written;
    failed stages and specs with faults are part of the result.
    """
    fast_path = FastPath(project) if Path.cwd() == project.root else None
    if fast_path and not always and not whole:
        fast_path.check(labels)
        if fast_path.nothing_to_load:
            outcomes, monitor = Outcomes.empty(fast_path.count_stages()), Monitor(events)
            monitor.plan(())
            end(monitor, outcomes, Pages(project, None, fast_path), say)
            fast_path.remember_pages()
            return Result(outcomes, {})
    loaded = LoadedProject.load(project, fast_path.selection if fast_path else Everything())
    outcomes = Outcomes.empty(fast_path.count_stages(loaded.plan.stages) if fast_path else 0)
    skipped = fast_path.up_to_date if fast_path else ()
    names = [name for name in labels if name not in skipped] if labels else loaded.default
    ids, errors = loaded.select_sound(names)
    lock, monitor = BuildLock(project.state.lock), Monitor(events)
    monitor.has_failed = bool(errors)
    builder = Builder(loaded, executor, lock=lock, always=always, whole=whole, monitor=monitor)
    if fast_path:
        fast_path.seed_code_digests(builder.rebuilder)
    with contextlib.ExitStack() as at_end:  # The last one is called first.
        at_end.callback(lock.give_back)
        at_end.callback(builder.finish)
        if executor is None:
            at_end.callback(builder.executor.stop)
        if fast_path:
            at_end.callback(remember, fast_path, loaded, builder)
        at_end.callback(end, monitor, outcomes, Pages(project, loaded.plan, fast_path), say)
        stages = list(in_order(loaded.plan, ids))
        monitor.plan((stage, builder.rebuilder.manifest_path(stage).parent) for stage in stages)
        for outcome in outcomes_of(builder, monitor, stages, say):
            outcomes.rows.append(outcome)
            if outcome.error and not keep_going:
                break
    return Result(outcomes, errors)


class Builder:
    """Builds the stages of a loaded project, and answers whether a stage is up to date."""

    def __init__(
        self,
        loaded: LoadedProject,
        executor: Executor | None,
        *,
        lock: BuildLock | None = None,
        always: bool = False,
        whole: bool = False,
        monitor: Monitor | None = None,
    ) -> None:
        """Makes a builder that runs requests with `executor`, by default the one of the project.

        `lock` is taken at the first stale stage and left to the caller to give back; without it, each stage takes the
        build folder's lock for itself. `always` runs stages that are up to date, too. `whole` fetches artifacts that
        only later stages may need: without it, datasets and checkpoints stay in the cache until then. `monitor` hears
        of the progress of stages.
        """
        project = loaded.project
        self.plan = loaded.plan
        self.rebuilder = Rebuilder.of(project.root, project.build, project.threads)
        self.executor = executor or chosen(project, self.rebuilder)
        self.reasons: dict[str, list[Reason]] = {}
        self.restorable = set[str]()
        self._project = project
        self._lock = lock
        self.always = always
        self._whole = whole
        self._monitor = monitor
        self._supply = Supply(project)
        self._bringing: dict[str, threading.Lock] = {}
        self._current: dict[str, Freshness] = {}
        self._requests: dict[str, tuple[int, Request]] = {}
        """Stage id -> when its request was made (monotonic ns), and the request; until the stage is built."""
        self._finished: dict[str, bytes | None] = {}
        """Stage id -> digest of the published texts; None for a stage that turned out to be up to date."""
        self._here = set[str]()
        """Stages whose artifacts this build made, or fetched for a later stage."""
        self._scratch = Scratch()
        self._abouts = loaded.abouts

    @property
    def has_lock(self) -> bool:
        """Whether the caller holds one lock for the whole build; the caller then also handles interruptions."""
        return self._lock is not None

    def request(self, stage: Stage) -> Request:
        """Returns the current request of a stage. ArtifactError unless its inputs have been built."""
        return self.rebuilder.request(stage, {role: self.plan.stages[id_] for role, id_ in stage.inputs.items()})

    def is_current(self, stage: Stage) -> bool:
        """Returns whether the stage is up to date; if not, records `reasons` and `restorable` for it."""
        result = self._freshness(stage)
        with contextlib.suppress(OSError):  # build() reports a lock that cannot be taken.
            if result.reasons and self._lock is not None and self._lock.take():
                result = self._freshness(stage)  # The build that held the lock may have built it.
        self.reasons[stage.id] = result.reasons
        self._current[stage.id] = result
        return not result.reasons

    def _freshness(self, stage: Stage) -> Freshness:
        try:
            began_ns = time.monotonic_ns()
            request = self.request(stage)
            result = freshness(self.rebuilder, stage, request)
            if self._whole and result.elsewhere:
                result = Freshness([_ELSEWHERE])
            if result.reasons:
                self._requests[stage.id] = began_ns, request
            if result.reasons and self._supply.has(request):
                self.restorable.add(stage.id)
        except QatbuildError as error:
            result = Freshness([Reason("blocked", now=error.in_one_line())])
        self.rebuilder.save_if_due()
        return result

    def build(self, stage: Stage) -> Fate:
        """Restores or runs a stage and publishes its artifacts, unless it is up to date.

        Returns BUILT, RESTORED or UP_TO_DATE; raises the stage's error, StageError if a file cannot be read or written.
        """
        try:
            if self._is_still_current(stage):
                return Fate.UP_TO_DATE
            with self._alone():
                return self._make(stage, whole=self._whole)
        except OSError as fault:
            facts = [("stage", stage.id), *system_facts(fault)]
            raise StageError("A file of the build cannot be written or read.", facts, system_hint(fault)) from fault

    def _make(self, stage: Stage, *, whole: bool) -> Fate:
        """Restores or runs a stage, unless it is up to date; with `whole`, also one whose artifacts are elsewhere."""
        recent = self._recent_request(stage)
        request = recent or self.request(stage)
        fresh = self.rebuilder.freshness(request)
        if not (fresh.reasons or self.always or (whole and fresh.elsewhere)):
            self._finished[stage.id] = None
            return Fate.UP_TO_DATE
        self._scratch.take(request.work)
        is_stored = not self.always and (recent is None or stage.id in self.restorable)
        restored = is_stored and self._supply.restore(request, may_stay=may_stay(stage) and not whole)
        if not restored:
            request = self._with_inputs(stage, request)
            self._run(stage, request)
            self._here.add(stage.id)
        self._finished[stage.id] = self._publish(request, stage, keep=not restored)
        return Fate.RESTORED if restored else Fate.BUILT

    def _with_inputs(self, stage: Stage, request: Request) -> Request:
        """Fetches or makes the inputs of a request that are elsewhere; returns the request with their new results."""
        absent = [each for each in map(self.plan.stages.__getitem__, stage.inputs.values()) if self._is_elsewhere(each)]
        if not absent:
            return request
        for upstream in absent:
            with self._bringing.setdefault(upstream.id, threading.Lock()):
                if self._make(upstream, whole=True) is Fate.BUILT:
                    sys.stderr.write(f"{upstream.id} was built again: the cache does not have its artifacts any more\n")
            self._here.add(upstream.id)
        renewed = self.request(stage)
        if renewed.work != request.work:
            self._scratch.give_back(request.work, keep=self._has_locked())
            self._scratch.take(renewed.work)
        return renewed

    def _is_elsewhere(self, stage: Stage) -> bool:
        if not may_stay(stage) or stage.id in self._here:
            return False
        current = self._current.get(stage.id)
        return self.rebuilder.is_elsewhere(stage) if current is None or current.reasons else current.elsewhere

    def _is_still_current(self, stage: Stage) -> bool:
        """Returns whether a stage that was up to date is so now: then no lock is needed, as in a read-only folder."""
        was_current = self.reasons.get(stage.id) == [] and not self.always
        return was_current and not self.rebuilder.freshness(self.request(stage)).reasons

    def _recent_request(self, stage: Stage) -> Request | None:
        """Returns the request that `is_current` made, if no other build can run and that was a moment ago.

        Its inputs have then been hashed before the action all the same, and are hashed again after it.
        """
        made_ns, request = self._requests.pop(stage.id, (0, None))
        is_recent = self._has_locked() and time.monotonic_ns() - made_ns < TICK_NS
        return request if is_recent else None

    def _alone(self) -> AbstractContextManager[object]:
        """Holds the build folder's lock for one stage, unless the whole build holds it."""
        return nullcontext() if self._has_locked() else held(self._project.state.lock)

    def _has_locked(self) -> bool:
        """Returns whether no other build can run before this one ends."""
        return self._lock is not None and self._lock.is_held

    def verified(self, since_ns: int) -> dict[str, Verified]:
        """Returns the stages that are up to date, by id. `since_ns` is when the build began, in ns since the epoch."""
        result = {
            id_: Verified(since_ns, fresh.artifacts)
            for id_, fresh in self._current.items()
            if not fresh.reasons and id_ not in self._finished
        }
        now_ns = time.time_ns()
        for id_, texts_sha256 in list(self._finished.items()):  # Interrupted stages may end meanwhile.
            stage = self.plan.stages[id_]
            with contextlib.suppress(QatbuildError, OSError):
                if texts_sha256 is not None:
                    result[id_] = Verified(now_ns, self.rebuilder.artifacts(stage, texts_sha256))
                elif not (fresh := self.rebuilder.freshness(self.request(stage))).reasons:
                    result[id_] = Verified(now_ns, fresh.artifacts)
        self.rebuilder.save()
        return result

    def finish(self) -> None:
        """Writes papers, removes scratch folders, waits for uploads; call it before the lock is given back."""
        try:
            self._papers.finish(self._current, [id_ for id_, texts in self._finished.items() if texts is not None])
            self._scratch.remove()
            self.rebuilder.save()
        finally:  # An interrupt of the lines above ends the uploads, too, and they say so.
            self._supply.finish()

    @property
    def store(self) -> Store | None:
        """The store of kept results, None if the project has neither a store nor a cache."""
        return self._supply.store

    @cached_property
    def cleaner(self) -> Cleaner:
        """Removes results of this build folder."""
        from qatbuild.engine.cleaning import Cleaner  # noqa: PLC0415  A build removes nothing.

        return Cleaner(self.rebuilder, self.store, self._project.state.lock)

    @cached_property
    def _papers(self) -> Papers:
        from qatbuild.engine.papers.writing import Papers  # noqa: PLC0415  Nothing is built, or looked at.

        return Papers(self._project.build, self.plan, self._abouts)

    def _run(self, stage: Stage, request: Request) -> None:
        try:
            with self._monitor.running(stage, request) if self._monitor else nullcontext():
                self.executor.run(request)
        except AcceptanceError:
            self.rebuilder.refuse(request)
            raise

    def _publish(self, request: Request, stage: Stage, *, keep: bool) -> bytes:
        """Publishes the artifacts of the worker or the store; returns the digest of the published texts."""
        processor = self._supply.processor(request, ran=keep)
        published = self.rebuilder.publish(request, stage, ran=keep, processor=processor)
        self._scratch.give_back(request.work, keep=self._has_locked())
        if keep:
            self._supply.keep(stage, request, published.manifest, published.origin)
        self._papers.add(stage, published.manifest, published.text, published.record)
        return published.texts_sha256


def remember(fast_path: FastPath, loaded: LoadedProject, builder: Builder) -> None:
    """Writes the record of what is up to date, at the end of a build."""
    fast_path.remember(loaded, builder.rebuilder, builder.verified(fast_path.began_ns))
