"""Compares the models of a project at two times: which labels differ, in what, and what came out of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.engine.affected import Side
from qatbuild.engine.checkout import Checkout, compare, present_side
from qatbuild.engine.existing_results import Absent, Alike, ExistingResults, Result
from qatbuild.engine.git import Revision, Span
from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.plan import Plan, Stage
from qatbuild.engine.project import Project
from qatbuild.engine.reason import Reason
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.engine.store import Store
from qatbuild.engine.store.local import LocalStore
from qatbuild.engine.whole_spec import whole_spec
from qatbuild.report import failures
from qatbuild.report.comparison import Difference, Model, difference
from qatbuild.report.failures import Failure
from qatbuild.schema.label import route_of

_JUDGED = "evaluate"


class _Time(NamedTuple):
    """The project at one time, and its results. `failed` are the failures of the last build, by LABEL:STAGE."""

    side: Side
    results: ExistingResults
    failed: Mapping[str, Failure]

    def models(self, labels: Iterable[str]) -> dict[str, Model]:
        """Returns the models of those labels that exist at this time."""
        plan = self.side.plan
        judged = {label: list(_judged(plan, label)) for label in labels if label in plan.labels}
        wanted = [id_ for ids in judged.values() for id_ in ids]
        answers = self.results.of(wanted)
        results = {id_: answer for id_ in wanted if isinstance(answer := answers[id_], Result)}
        reports = self.results.reports(results)
        return {label: self._model(label, ids, answers, reports) for label, ids in judged.items()}

    def _model(
        self,
        label: str,
        ids: Iterable[str],
        answers: Mapping[str, Result | Absent],
        reports: Mapping[str, dict[str, Any] | None],
    ) -> Model:
        report, routes, missing, unlike = None, {}, [], []
        for id_ in ids:
            stage, answer, document = self.side.plan.stages[id_], answers[id_], reports.get(id_)
            unlike += [reason.text for reason in answer.unlike] if isinstance(answer, Result) else []
            if document is None:
                missing.append(self._why(label, stage, answer))
            elif stage.route:
                routes[stage.route] = document
            else:
                report = document
        spec = whole_spec(self.side.plan, label, self.side.path)
        return Model(spec, report, routes, tuple(dict.fromkeys(missing)), tuple(dict.fromkeys(unlike)))

    def _why(self, label: str, stage: Stage, answer: Result | Absent) -> str:
        """Returns why a stage has no report to show: what failed in the last build, or else what was not found."""
        failed = failures.of(label, self.failed)
        causes = [each for each in failed.values() if each.block and not (each.route and each.stage != stage.name)]
        if causes:
            return f"{causes[0].key} {causes[0].verdict}"
        absent = answer if isinstance(answer, Absent) else Absent(stage.name, " has no report as it was built")
        return absent.reason(label)


def differences(loaded: LoadedProject, rebuilder: Rebuilder, store: Store | None, span: Span) -> list[Difference]:
    """Returns the labels that differ between the two ends of a span, sorted by name.

    `rebuilder` and `store` are those of the loaded working tree. Nothing is built.
    """
    with tempfile.TemporaryDirectory() as folder:
        former = _past(span.former, loaded.project, rebuilder, store, Path(folder, "former"))
        if span.present is None:
            present = _now(loaded, span.former, rebuilder, store)
        else:
            present = _past(span.present, loaded.project, rebuilder, store, Path(folder, "present"))
        comparison = compare(former.side, present.side, span)
        labels = sorted({*comparison.labels, *comparison.removed})
        before, after = former.models(labels), present.models(labels)
        return [
            difference(label, before.get(label), after.get(label), _inputs(comparison.labels.get(label, {})))
            for label in labels
        ]


def _past(revision: Revision, project: Project, now: Rebuilder, store: Store | None, top: Path) -> _Time:
    checkout = Checkout.of(revision, project, top, now.code.cache)
    side = checkout.side
    rebuilder = Rebuilder(now.project, now.build, side.threads, now.digests, side.code)
    alike = None if project.store is None else Alike(LocalStore(project.store, project.root, project.build))
    return _Time(side, ExistingResults(side.plan, rebuilder, store, checkout.located, alike), {})


def _now(loaded: LoadedProject, former: Revision, rebuilder: Rebuilder, store: Store | None) -> _Time:
    failed = failures.load(loaded.project.state.failures)
    side = present_side(loaded, former, rebuilder.code)
    return _Time(side, ExistingResults(loaded.plan, rebuilder, store), failed)


def _judged(plan: Plan, label: str) -> Iterator[str]:
    """Yields the ids of a label's stages with a verdict: its evaluation and its routes."""
    return (id_ for name, id_ in plan.labels[label].items() if name == _JUDGED or route_of(name))


def _inputs(stages: Mapping[str, Iterable[Reason]]) -> list[str]:
    """Returns in words what changed besides the fields of the spec, each once."""
    reasons = (reason for reasons in stages.values() for reason in reasons)
    return list(dict.fromkeys(reason.text for reason in reasons if reason.kind != "setting" and reason.now != "is new"))
