"""Finds the labels that a change of the project's files affects, by comparing two plans stage by stage.

The comparison covers what a request is made of, so a comment in a spec or in a network affects nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from qatbuild.engine.code_digest import Code
from qatbuild.engine.plan import Plan, Stage
from qatbuild.engine.reason import Reason, settings
from qatbuild.schema.label import spec_of

Same = Callable[[str, str], bool]
"""Compares a source then and now, both paths relative to the repository, or absolute outside of it."""

_SHAPING = (
    "alternatives", "comments", "ends", "label", "load", "matrix", "methods", "model", "routes", "rules.dataset",
    "tasks", "typed",
)  # fmt: skip
PLANNING = ("qatbuild.engine.plan", "qatbuild.engine.plan_ends", *(f"qatbuild.schema.{name}" for name in _SHAPING))
"""Modules that decide what a spec means: a change of them affects every label."""


@dataclass
class Side:
    """The project at one time: its `root`, which lies at `inside` of its repository.

    `broken` are the names of specs with faults.
    """

    root: Path
    inside: Path
    plan: Plan
    broken: AbstractSet[str]
    code: Code
    threads: int
    tables: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)

    def table(self, modules: tuple[str, ...]) -> dict[str, str]:
        """Returns module -> fingerprint of the modules and their imports; cached, because most stages share them."""
        if modules not in self.tables:
            self.tables[modules] = self.code.table(modules)
        return self.tables[modules]

    def path(self, source: str) -> str:
        """Returns a source's path relative to the repository; of one outside, the absolute path."""
        path = os.path.normpath(self.inside / os.path.relpath(source, self.root))
        return Path(source if path.startswith("..") else path).as_posix()


def affected(then: Side, now: Side, same: Same, always: Iterable[Reason]) -> dict[str, dict[str, list[Reason]]]:
    """Returns label -> stage -> reasons for the present labels whose inputs differ.

    `same` compares sources; `always` are reasons that affect every stage.
    """
    planning = _modules(then.code.fingerprints(PLANNING), now.code.fingerprints(PLANNING))
    shared = [*always, *planning]
    if then.threads != now.threads:
        shared.append(Reason("threads", "", then.threads, now.threads))
    same = cache(same)
    compared: dict[tuple[str, str], list[Reason]] = {}
    result: dict[str, dict[str, list[Reason]]] = {}
    for label, stages in now.plan.labels.items():
        before = then.plan.labels.get(label)
        reasons = {name: list(shared) for name in stages} if shared else {}
        for name, id_ in stages.items():
            stage = now.plan.stages[id_]
            if before is None or name not in before:
                how = "could not be read then" if spec_of(label) in then.broken else "is new"
                reasons.setdefault(name, []).append(Reason("label", label, now=how))
            else:
                pair = (before[name], id_)
                if pair not in compared:
                    compared[pair] = list(_differences(then, now, then.plan.stages[before[name]], stage, same))
                if compared[pair]:
                    reasons.setdefault(name, []).extend(compared[pair])
        if reasons:
            result[label] = reasons
    return result


def _differences(then: Side, now: Side, former: Stage, stage: Stage, same: Same) -> Iterator[Reason]:
    yield from settings(former.settings, stage.settings)
    yield from _modules(then.table(former.modules), now.table(stage.modules))
    for role in sorted({*former.sources, *stage.sources}):
        if role in former.sources and former.sources[role] == stage.sources.get(role):
            before = after = now.path(stage.sources[role])  # Outside the revision, as a file of qatbuild or the system.
        else:
            before, after = (
                side.path(sources[role]) if role in sources else ""
                for side, sources in ((then, former.sources), (now, stage.sources))
            )
        if before != after or not same(before, after):
            yield Reason("source", after or before, before and "then", after and "now")


def _modules(then: Mapping[str, str], now: Mapping[str, str]) -> list[Reason]:
    return [
        Reason("code", module, then.get(module), now.get(module))
        for module in sorted({*then, *now})
        if then.get(module) != now.get(module)
    ]
