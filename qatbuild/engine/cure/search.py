"""The search for the cheapest patch that brings a refused model through its gates.

Patches are tried in the order of their cost. One that helps, but not enough, is the base of further patches, against
what is then found. Where the float network itself misses what a gate wants, longer float trainings come before all
else: no quantization gives back what it lacks. The order depends on results only, so a search that was killed goes on
when it is run again: it comes to the same trials, which are built already.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from qatbuild.engine.cure.float_network import lacks
from qatbuild.engine.cure.patches import Cost, Patch, Price, price
from qatbuild.engine.cure.remedies import proposals
from qatbuild.engine.cure.specification import Specification
from qatbuild.engine.cure.trial import Trials, Verdict
from qatbuild.exchange.errors import QatbuildError
from qatbuild.exchange.files import canonical_json
from qatbuild.report.diagnosis import diagnose
from qatbuild.report.layer_losses import layers
from qatbuild.schema.alternatives import without_alternatives
from qatbuild.schema.load import merge_patch, patched
from qatbuild.schema.model import Variant

_DIGITS = 8
_HELPS = 0.9
"""A patch is worth further ones if it leaves less than this of what is lost."""


class Attempt(NamedTuple):
    """A patch that was tried, its price, the label of its trial, and the verdict."""

    patch: Patch
    price: Price
    label: str
    verdict: Verdict


class _Order(NamedTuple):
    """The order of patches: the least comes first.

    is_hopeless    whether the float network misses what a gate wants, and the patch trains no other one
    cost           of the price
    float_steps    of the price
    shortfall      of the model that the patch is against: the best model comes first
    steps          of the price
    number         counts the patches as they are queued
    """

    is_hopeless: bool
    cost: Cost
    float_steps: int
    shortfall: float
    steps: int
    number: int


class _Candidate(NamedTuple):
    """A patch to try. It is against a model that was built: the spec's own, or that of an earlier patch.

    `part` says in words what it adds to that patch; `lack` is what the float network of that model misses.
    """

    order: _Order
    price: Price
    part: str
    patch: Patch
    variant: Variant
    lack: str


class Search:
    """The patches of one label that wait, and what the tried ones have shown."""

    def __init__(self, specification: Specification, trials: Trials) -> None:
        """Begins with nothing tried."""
        self._specification, self._trials = specification, trials
        self._variant = specification.variant()
        self._waiting: list[_Candidate] = []
        self._tried = [self._variant]
        self._harmful: set[str] = set()
        self._numbers = itertools.count()

    @property
    def untried(self) -> int:
        """The number of patches that wait."""
        waiting = list(self._tried)
        for candidate in self._waiting:
            if self._unnamed(candidate.variant) not in waiting:
                waiting.append(self._unnamed(candidate.variant))
        return len(waiting) - len(self._tried)

    def attempts(self, verdict: Verdict, budget: int) -> Iterator[Attempt]:
        """Yields at most `budget` attempts, up to the first that passes; `verdict` is that of the label itself."""
        self._propose(Patch({}, ""), verdict)
        for candidate in itertools.islice(self._untried(), budget):
            result = self._trials.judge(candidate.variant)
            attempt = Attempt(candidate.patch, candidate.price, candidate.variant.label, result)
            if not result.passed and not result.error:
                self._learn(candidate, result)
            yield attempt
            if result.passed:
                return

    def _untried(self) -> Iterator[_Candidate]:
        """Yields what waits in its order, each spec once, by its shortest patch.

        A spec may wait in several places: against several models.
        """
        while self._waiting:
            candidate = heapq.heappop(self._waiting)
            variant = self._unnamed(candidate.variant)
            if variant not in self._tried:
                self._tried.append(variant)
                same = [candidate, *(each for each in self._waiting if self._unnamed(each.variant) == variant)]
                shortest = min(same, key=lambda each: (len(each.patch.why), each.order.number))
                yield candidate._replace(patch=shortest.patch, variant=shortest.variant)

    def _unnamed(self, variant: Variant) -> Variant:
        """Returns a variant under the label of the search: two that are equal build the same."""
        return variant._replace(label=self._variant.label)

    def _learn(self, candidate: _Candidate, result: Verdict) -> None:
        """Queues patches against a trial that helps. What makes a model worse is added to no other patch."""
        if _helps(candidate, result):
            self._propose(candidate.patch, result)
        elif _shortfall(result.report) > candidate.order.shortfall:
            self._harmful.add(candidate.part)

    def _propose(self, base: Patch, verdict: Verdict) -> None:
        """Queues the patches against what a report shows, each merged into the patch that the report is of."""
        document = patched(self._specification.document, base.fields)
        variant = self._specification.variant(base.fields)
        rows = list(layers(verdict.report))
        for patch in proposals(diagnose(verdict.report, variant), rows, document, variant):
            is_longer = "train" in patch.fields  # A training that is longer already stays so, or this would never end.
            if not (is_longer and "train" in base.fields) and patch.why not in self._harmful:
                fields = _merged(base, patch, variant.quantize.method)
                self._queue(Patch(fields, patch.why_after(base)), patch.why, variant, verdict)

    def _queue(self, patch: Patch, part: str, base: Variant, verdict: Verdict) -> None:
        """Queues a patch against the verdict on `base`, unless it makes no valid spec."""
        try:
            variant = self._specification.variant(
                patch.fields, _label(self._variant.label, canonical_json(patch.fields))
            )
        except QatbuildError:  # Such as an override in the mode tf1, which has none.
            return
        lack = lacks(verdict.report, base.evaluate)
        is_hopeless = bool(lack) and variant.train == base.train
        cost, float_steps, steps = asked = price(self._variant, variant)
        order = _Order(is_hopeless, cost, float_steps, _shortfall(verdict.report), steps, next(self._numbers))
        heapq.heappush(self._waiting, _Candidate(order, asked, part, patch, variant, lack))


def _merged(base: Patch, patch: Patch, method: str) -> dict[str, Any]:
    """Returns a patch merged into another, of a spec with that method, less what the patch excludes."""
    fields = base.fields
    if "method" in patch.fields.get("quantize", {}):
        fields = without_alternatives(merge_patch({"quantize": {"method": method}}, fields), patch.fields)
    result: dict[str, Any] = merge_patch(fields, patch.fields, keep_null=True)
    return result


def _helps(candidate: _Candidate, verdict: Verdict) -> bool:
    """Returns whether a trial is better than the model that its patch is against, by enough for further patches."""
    if candidate.lack and not lacks(verdict.report, candidate.variant.evaluate):
        return True
    return _shortfall(verdict.report) < candidate.order.shortfall * _HELPS


def _label(label: str, patch: str) -> str:
    """Returns the label of a patch's trial. No spec has a name that begins like it."""
    digest = hashlib.sha256(patch.encode()).hexdigest()[:_DIGITS]
    return f"cure/{label}{'-' if '@' in label else '@'}{digest}"


def _shortfall(report: Mapping[str, Any]) -> float:
    """Returns by how much the .tflite is worse than the float network, in the first metric."""
    metric = next(iter(report["metrics"].values()))
    worse = float(metric["float"]) - float(metric["tflite"])
    return worse if metric["better"] == "higher" else -worse
