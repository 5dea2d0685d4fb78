"""The end of a build: tables of evaluated models and deployed routes, the list of failures, report.html, junit.xml."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from qatbuild.engine.outcome import Fate, Outcomes, is_judged, keys
from qatbuild.exchange.errors import ArtifactError, system_facts, system_hint

if TYPE_CHECKING:
    from qatbuild.engine.fast_path import FastPath
    from qatbuild.engine.plan import Plan
    from qatbuild.engine.project import Project
    from qatbuild.report.failures import Failure


class Pages(NamedTuple):
    """The labels on the pages: all labels of a project. `plan` has the loaded ones, `fast_path` the others."""

    project: Project
    plan: Plan | None
    fast_path: FastPath | None

    @property
    def labels(self) -> Mapping[str, Sequence[str]]:
        """Label -> routes, of every loaded or recorded label."""
        others = self.fast_path.routes() if self.fast_path else {}
        return {**others, **(self.plan.routes if self.plan else {})}

    def may_differ(self, outcomes: Outcomes) -> bool:
        """Returns whether the pages should show a model that is up to date, and may not be as they were written."""
        is_shown = any(map(is_judged, outcomes.stages(Fate.UP_TO_DATE)))
        return self.fast_path.pages_differ(is_shown=is_shown) if self.fast_path else is_shown


def close(outcomes: Outcomes, pages: Pages) -> Iterator[str]:
    """Writes the list of failures, and the pages if they are not as they should be; yields the texts to print.

    ArtifactError at the end if a page cannot be written, unless the build has failed anyway.
    """
    build, failures = pages.project.build, pages.project.state.failures
    changed = outcomes.stages(Fate.BUILT, Fate.RESTORED, Fate.FAILED, Fate.REFUSED)
    if pages.fast_path and pages.fast_path.gone:
        yield f"no longer a spec: {', '.join(pages.fast_path.gone)}\n"
    if not changed and not (outcomes.rows and failures.is_file()):
        if pages.may_differ(outcomes):
            yield from _put_back(pages)
        return
    from qatbuild.report.failures import update  # noqa: PLC0415  Only for a build that made something.
    from qatbuild.report.layers import worst_layers  # noqa: PLC0415
    from qatbuild.report.table import routes, table  # noqa: PLC0415

    judged = [each for each in outcomes.stages(Fate.BUILT, Fate.RESTORED, Fate.REFUSED) if is_judged(each)]
    paths = {build / each.home / ("route.json" if each.route else "report.json"): each for each in judged}
    written = {path: stage for path, stage in sorted(paths.items()) if path.is_file()}
    failed = list(_failures(outcomes))
    for text in (
        table([path for path, stage in written.items() if not stage.route], build),
        routes(
            [path for path, stage in written.items() if stage.route],
            [each for each in failed if each.route and each.block],
        ),
    ):
        if text:
            yield "\n" + text
    for stage in outcomes.stages(Fate.REFUSED):
        yield worst_layers(build / stage.home / "report.json")
    were_failures = failures.is_file()
    succeeded = outcomes.stages(Fate.BUILT, Fate.RESTORED, Fate.UP_TO_DATE, Fate.REFUSED)
    remaining = update(failures, failed, keys(succeeded))
    if written or remaining or were_failures:
        yield from _write_pages(pages, remaining.values(), has_failed=not outcomes.ok)
    elif pages.may_differ(outcomes):
        yield from _put_back(pages)


def summary(outcomes: Outcomes, seconds: float) -> str:
    """Returns the table of what became of the stages and where the time went, and the counts of a build of `seconds`.

    Without the table if at most one stage ran; '' for a build without stages.
    """
    if not outcomes.counts:
        return ""
    line = f"{outcomes.counts} in {seconds:.1f} s\n"
    if sum(row.fate not in {Fate.UP_TO_DATE, Fate.NOT_BUILT} for row in outcomes.rows) <= 1:
        return line
    from qatbuild.engine.spent import table  # noqa: PLC0415  Only for a build that made something.

    return f"\n{table(outcomes.rows)}{line}"


def _failures(outcomes: Outcomes) -> Iterator[Failure]:
    """Yields the failures to list. A refused stage is left out, because its new report shows the refusal."""
    from qatbuild.report.failures import Failure  # noqa: PLC0415  Most builds need none.

    for row in outcomes.rows:
        if row.fate is Fate.FAILED or (row.fate is Fate.NOT_BUILT and is_judged(row.stage)):
            yield from (Failure(label, row.stage.name, row.error) for label in row.stage.labels)


def _put_back(pages: Pages) -> Iterator[str]:
    """Writes those of the pages that were edited or removed; yields a line if it did."""
    from qatbuild.report.failures import load  # noqa: PLC0415

    yield from _write_pages(pages, load(pages.project.state.failures).values(), always_said=False)


def _write_pages(
    pages: Pages, failures: Iterable[Failure], *, always_said: bool = True, has_failed: bool = False
) -> Iterator[str]:
    """Writes report.html and junit.xml and yields a line about it.

    ArtifactError for a page that cannot be written; only its text, if the build `has_failed`.
    """
    from qatbuild.report.models import update_labels  # noqa: PLC0415
    from qatbuild.report.pages import refresh  # noqa: PLC0415

    project, fast_path = pages.project, pages.fast_path
    unknown = fast_path.unknown_specs() if fast_path else ()
    labels = update_labels(project.state.labels, pages.labels, unknown)
    since_ns = time.time_ns()
    unchanged = fast_path.unchanged_specs() if fast_path else ()
    written = refresh(project.build, labels, project.state.pages, failures, unchanged)
    if fast_path:
        fast_path.pages_written(since_ns, written)
    faults = [page.fault for page in written if page.fault]
    for page in written[:1] if always_said else filter(lambda page: page.is_new, written):
        if not page.fault:
            yield f"{page.file.relative_to(project.build.parent)}\n"
    if faults:
        facts = [fact for fault in faults for fact in system_facts(fault)]
        error = ArtifactError("A page of all models cannot be written.", facts, system_hint(faults[0]))
        if not has_failed:
            raise error from faults[0]
        yield f"\n{error.block()}\n"
