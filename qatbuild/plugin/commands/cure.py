"""`doit cure`: tries changes of a spec until a model passes its gates, and prints the change as a merge patch."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from qatbuild.engine.cure.float_network import lacks
from qatbuild.engine.cure.limits import limit
from qatbuild.engine.cure.search import Attempt, Search
from qatbuild.engine.cure.specification import Specification
from qatbuild.engine.cure.trial import Trials, Verdict
from qatbuild.exchange.errors import SpecError
from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.commands.option import format_option, option
from qatbuild.plugin.session import Session
from qatbuild.report.diagnosis import diagnose

_BUDGET = 12


class Result(NamedTuple):
    """What was tried for a label: the verdict of the spec as it is, and the attempts, of which the last may pass.

    `untried` is the number of patches that were left when it ended.
    """

    specification: Specification
    verdict: Verdict
    attempts: Sequence[Attempt]
    untried: int = 0

    @property
    def passed(self) -> bool:
        """Whether the model passes, as it is or patched."""
        return self.verdict.passed or bool(self.attempts and self.attempts[-1].verdict.passed)

    @property
    def patch(self) -> dict[str, Any] | None:
        """The patch of the spec that passes; {} if none is needed, None if none was found."""
        if self.verdict.passed or not self.passed:
            return {} if self.passed else None
        return self.specification.of_spec(self.attempts[-1].patch.fields)

    @property
    def limit(self) -> str:
        """Why no field of the spec helps, and what to change instead; '' if a patch does, or some are untried."""
        if self.passed or self.untried or self.verdict.error:
            return ""
        report, variant = self.verdict.report, self.specification.variant()
        trained = [each.verdict.report for each in self.attempts if not each.verdict.error]
        is_weak = all(lacks(each, variant.evaluate) for each in trained)
        return limit(diagnose(report, variant), lacks(report, variant.evaluate) if is_weak else "")

    def to_json(self, task: str) -> dict[str, Any]:
        """The result for scripts."""
        return {
            "label": task,
            "passed": self.passed,
            "patch": self.patch,
            "error": self.verdict.error,
            "untried": self.untried,
            "limit": self.limit,
            "tried": [
                {
                    "patch": self.specification.of_spec(each.patch.fields),
                    "why": each.patch.why,
                    "cost": each.price.cost.words,
                    "label": each.label,
                    "passed": each.verdict.passed,
                    "gates": each.verdict.report.get("gates", []),
                    "error": each.verdict.error,
                }
                for each in self.attempts
            ],
        }


class Cure(SpecCommand):
    """Builds variants of refused models, the cheapest first, until one passes."""

    name = "cure"
    doc_purpose = "try changes of a spec until its model passes the gates"
    doc_usage = "[--budget N] LABEL ..."
    doc_description = (
        "Builds variants of a model that its gates refuse, in the order of their cost: those that only measure ranges"
        " again, then short and long trainings, at last a layer in float; where the float network itself misses what a"
        " gate wants, longer float trainings come first. Prints the first that passes, as a JSON merge"
        " patch for the spec. The spec is not changed. What was tried is kept: an interrupted search goes on when it is"
        " run again, and `doit gc` removes it. Ends with status 1 if no change was enough: says how many are left for"
        " a greater budget, or why no field of the spec helps."
    )
    cmd_options = (
        format_option({"text": "what is tried, and the patch", "json": "all of it, for scripts"}, "form of the output"),
        option("budget", _BUDGET, f"the greatest number of variants to build [default: {_BUDGET}]"),
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the patch of each label; returns 1 if a model still does not pass.

        SpecError without a label, for a budget below 1, and for a spec with faults.
        """
        labels = _labels(session, names)
        if options["budget"] < 1:
            raise SpecError("A search needs a budget.", [("--budget", options["budget"])], "--budget 12")
        is_text = options["format"] == "text"
        say = sys.stdout.write if is_text else sys.stderr.write
        try:
            results = [_search(session, label, options["budget"], say) for label in labels]
        finally:
            session.builder.executor.stop()
        if not is_text:
            write_json([result.to_json(session.task(result.specification.label)) for result in results])
        return 0 if all(result.passed for result in results) else 1


def _labels(session: Session, names: Sequence[str]) -> list[str]:
    if not names:
        label = session.task(next(iter(session.plan.labels), "LABEL"))
        raise SpecError("doit cure needs the label of a model.", [], f"doit cure {label}")
    return session.evaluated(names)


def _search(session: Session, label: str, budget: int, say: Callable[[str], object]) -> Result:
    specification = Specification.of(session.loaded, label)
    trials = Trials(session.project, session.builder.executor, say)
    task = session.task(label)
    result = Result(specification, trials.judge(specification.variant()), attempts := [])
    if result.verdict.error:
        say(f"{task} cannot be built: {result.verdict.error}\n")
        return result
    if result.passed:
        say(f"{task} passes its gates as it is.\n")
        return result
    say(f"{task} is refused: {result.verdict.outcome}\n")
    search = Search(specification, trials)
    for attempt in search.attempts(result.verdict, budget):
        attempts.append(attempt)
        say(f"{len(attempts)}. {attempt.patch.why} ({attempt.price.cost.words}): {attempt.verdict.outcome}\n")
    result = result._replace(untried=search.untried)
    say(_ending(result, task))
    return result


def _ending(result: Result, task: str) -> str:
    if result.passed:
        return f"{task} passes with this merge patch of its spec:\n{json.dumps(result.patch, indent=2)}\n"
    tried = len(result.attempts)
    text = f"No field of the spec mends it, after {tried} attempt{'' if tried == 1 else 's'}. {result.limit}"
    if result.untried:
        more = f"doit cure {task} --budget {tried + result.untried}"
        text = f"No change of the spec that was tried is enough, {result.untried} are left: {more}"
    findings = diagnose(result.verdict.report, result.specification.variant())
    worst = "".join(f"{each.layer.name}: {each.text}\n" for each in findings[:1])
    return f"{worst}{text}\nSee: doit diagnose {task}\n"
