"""The search for the cheapest patch that brings a refused model through its gates.

Patches are tried in the order of their cost. One that helps, but not enough, is the base of further patches, against
what is then found. The order depends on results only, so a search that was killed goes on when it is run again: it
comes to the same trials, which are built already.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from qatbuild.engine.cure.patches import Cost, Patch, cost, proposals
from qatbuild.engine.cure.specification import Specification
from qatbuild.engine.cure.trial import Trials, Verdict
from qatbuild.exchange.errors import QatbuildError
from qatbuild.exchange.files import canonical_json
from qatbuild.report.diagnosis import diagnose
from qatbuild.report.layer_losses import layers
from qatbuild.schema.load import merge_patch, patched
from qatbuild.schema.model import Variant

_DIGITS = 8
_HELPS = 0.9
"""A patch is worth further ones if it leaves less than this of what is lost."""


class Attempt(NamedTuple):
    """A patch that was tried, its cost, the label of its trial, and the verdict."""

    patch: Patch
    cost: Cost
    label: str
    verdict: Verdict


class _Candidate(NamedTuple):
    """A patch to try, in the order of the queue: the least comes first. `shortfall` is that without its last part."""

    cost: tuple[Cost, int]
    number: int
    patch: Patch
    variant: Variant
    shortfall: float


class Search:
    """The patches of one label that wait to be tried, and what was found of those that were."""

    def __init__(self, specification: Specification, trials: Trials) -> None:
        """Begins with nothing tried."""
        self._specification, self._trials = specification, trials
        self._variant = specification.variant()
        self._waiting: list[_Candidate] = []
        self._seen = {canonical_json({})}
        self._numbers = itertools.count()

    def attempts(self, verdict: Verdict, budget: int) -> Iterator[Attempt]:
        """Yields at most `budget` attempts, up to the first that passes; `verdict` is that of the label itself."""
        self._propose(Patch({}, ""), verdict)
        for _ in range(budget):
            if not self._waiting:
                return
            candidate = heapq.heappop(self._waiting)
            result = self._trials.judge(candidate.variant)
            yield Attempt(candidate.patch, candidate.cost[0], candidate.variant.label, result)
            if result.passed:
                return
            if not result.error and _shortfall(result.report) < candidate.shortfall * _HELPS:
                self._propose(candidate.patch, result)

    def _propose(self, base: Patch, verdict: Verdict) -> None:
        """Queues the patches against what a report shows, each merged into the patch that the report is of."""
        document = patched(self._specification.document, base.fields)
        variant = self._specification.variant(base.fields)
        has_batch_norms = any(layer.signs.batch_norm is not None for layer in layers(verdict.report))
        findings = diagnose(verdict.report, variant)
        for patch in proposals(findings, document, variant, has_batch_norms=has_batch_norms):
            fields = merge_patch(base.fields, patch.fields, keep_null=True)
            text = canonical_json(fields)
            if text in self._seen:
                continue
            self._seen.add(text)
            whole = Patch(fields, ", and ".join(filter(None, (base.why, patch.why))))
            self._queue(whole, _label(self._specification.label, text), _shortfall(verdict.report))

    def _queue(self, patch: Patch, label: str, shortfall: float) -> None:
        try:
            variant = self._specification.variant(patch.fields, label)
        except QatbuildError:  # Such as an override in the mode tf1, which has none.
            return
        if variant._replace(label=self._variant.label) != self._variant:
            price = cost(self._variant, variant)
            heapq.heappush(self._waiting, _Candidate(price, next(self._numbers), patch, variant, shortfall))


def _label(label: str, patch: str) -> str:
    """Returns the label of a patch's trial. No spec has a name that begins like it."""
    digest = hashlib.sha256(patch.encode()).hexdigest()[:_DIGITS]
    return f"cure/{label}{'-' if '@' in label else '@'}{digest}"


def _shortfall(report: Mapping[str, Any]) -> float:
    """Returns by how much the .tflite is worse than the float network, in the first metric."""
    metric = next(iter(report["metrics"].values()))
    worse = float(metric["float"]) - float(metric["tflite"])
    return worse if metric["better"] == "higher" else -worse
