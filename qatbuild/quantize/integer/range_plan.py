"""Which tensors get a FakeQuant, and which of them share a range: decided before the graph is touched.

Ranges begin at steps that have one of their own and spread along those that keep their input's. Where tensors are
joined (concatenated, say) the runtime moves codes, so the ranges that meet there are one, learnt from all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.integer.fused_ops import Offence, Step
from qatbuild.quantize.integer.ops import FIXED, kind
from qatbuild.quantize.integer.path import Path
from qatbuild.quantize.options import BITS, Options, Override
from qatbuild.quantize.rewrite_report import LeftFloat
from qatbuild.quantize.tf1.layers import ACTIVATION_TYPES
from qatbuild.quantize.tf1.placement import parent

Place = Literal["input", "output", "weights", "operand"]
INPUT = -1
"""Stands for the input where others have the number of their step."""


@dataclass(frozen=True)
class Range:
    """One range: how it is found, and the format of the codes that divide it.

    `prefix` is the scope of its variables. `fixed` is (least, greatest) if nothing can change it, else it is learnt
    from the outputs of the steps `observed` (a weight's from the weight itself): "last" takes each step's extremes,
    "average" their moving average.
    """

    prefix: str
    fixed: tuple[float, float] | None = None
    observed: tuple[int, ...] = ()
    learns: Literal["last", "average"] = "average"
    bits: int = BITS
    narrow_range: bool = False
    symmetric: bool = False


@dataclass(frozen=True)
class Quant:
    """One FakeQuant: on which tensor of which step, under which name, with which range (an index into the ranges)."""

    step: int
    place: Place
    layer: str
    role: str
    prefix: str
    range: int
    operand: tf.Tensor | None = None


@dataclass(frozen=True)
class Plan:
    """All FakeQuants in the order in which they are made, their ranges, and what stays float on request.

    `given` has, for each layer that does not, by the number of its step, the range of its input.
    """

    quants: tuple[Quant, ...]
    ranges: tuple[Range, ...]
    left_float: tuple[LeftFloat, ...]
    given: Mapping[int, Range]


@dataclass
class _Group:
    """A range in the making; `forced` is a fixed one that the runtime dictates, which no other can join."""

    fixed: tuple[float, float] | None = None
    forced: bool = False
    joined_to: int | None = None
    members: list[int] = field(default_factory=list)


def plan(path: Path, steps: Sequence[Step], options: Options) -> tuple[Plan, list[Offence]]:
    """The FakeQuants of a network, and an offence wherever ranges meet that cannot be one.

    RewriteError if an override matches no layer.
    """
    planner = _Planner(path, steps, _settings(steps, options.overrides), options)
    planner.spread()
    return planner.plan(), planner.offences


def _settings(steps: Sequence[Step], overrides: Iterable[Override]) -> Mapping[int, Override]:
    """What the overrides say, all together, of each step by its number."""
    named = {number: step for number, step in enumerate(steps) if step.rule == "own"}
    found: dict[int, Override] = {}
    idle = []
    for override in overrides:
        matched = [
            number
            for number, step in named.items()
            if any(fnmatchcase(name, override.pattern) for name in (step.layer, step.operation.name))
        ]
        if not matched:
            idle.append(override.pattern)
        for number in matched:
            before = found.get(number, Override(override.pattern))
            found[number] = replace(override, range=override.range or before.range, bits=override.bits or before.bits)
    if idle:
        names = dict.fromkeys(step.layer for step in named.values())
        raise RewriteError(
            "An override matches no layer: nothing was changed.",
            [*(("override", pattern) for pattern in idle), ("layers", ", ".join(names))],
            "A pattern is a layer's name, in which * stands for any letters.",
        )
    return found


class _Planner:
    """Carries ranges along the steps."""

    def __init__(self, path: Path, steps: Sequence[Step], settings: Mapping[int, Override], options: Options) -> None:
        self._path, self._steps, self._settings, self._options = path, steps, settings, options
        low, high = -options.mean / options.std_dev, (2**BITS - 1 - options.mean) / options.std_dev
        self._groups = [_Group((low, high), forced=True, members=[INPUT])]
        self._of: dict[str, int | None] = {path.input.name: 0}  # None: the tensor stays float
        self._placed: list[tuple[int, Place, str, int | None, tf.Tensor | None]] = [
            (INPUT, "input", "input_quant", 0, None)
        ]
        self._kept: dict[int, str] = {}
        self._taken: dict[int, int] = {}
        self.offences: list[Offence] = []

    def spread(self) -> None:
        """Give every tensor of the path its range."""
        for number, step in enumerate(self._steps):
            taken = [self._of[tensor.name] for tensor in step.sources]
            given = self._given(number, step, taken)
            for tensor in (*step.operation.outputs, step.output):
                self._of[tensor.name] = given
        if self._of[self._path.logits.name] is None:
            last = next(step for step in reversed(self._steps))
            why = "it gives the logits, and the model's output would be float"
            self.offences.append(Offence(last.layer, "keep_float", why, last.operation))

    def _given(self, number: int, step: Step, taken: list[int | None]) -> int | None:
        setting = self._settings.get(number)
        if None in taken:
            self._kept[number] = "its input comes in float"
        if setting is not None and setting.keep_float:
            self._kept[number] = f"the override {setting.pattern} keeps it in float"
            return None
        if step.rule == "moved":
            return taken[0]
        if step.rule == "joined":
            return None if None in taken else self._join(step, [each for each in taken if each is not None])
        if step.rule == "same":
            if taken[0] is not None:
                self._placed.append((number, "output", step.role, taken[0], None))
            return taken[0]
        if step.is_layer and taken[0] is not None:
            self._taken[number] = taken[0]
        return self._own(number, step, setting)

    def _own(self, number: int, step: Step, setting: Override | None) -> int:
        if step.is_layer:
            self._placed.append((number, "weights", "weights_quant", None, None))
        for operand in step.operands:
            self._placed.append((number, "operand", "operand_quant", None, operand))
        fixed, forced = (FIXED[step.operation.type], True) if step.rule == "fixed" else (None, False)
        if setting is not None and setting.range is not None:
            fixed = setting.range
        self._groups.append(_Group(fixed, forced, members=[number]))
        self._placed.append((number, "output", step.role, len(self._groups) - 1, None))
        return len(self._groups) - 1

    def _root(self, group: int) -> int:
        following = self._groups[group].joined_to
        return group if following is None else self._root(following)

    def _join(self, step: Step, groups: list[int]) -> int:
        first, *others = dict.fromkeys(sorted(self._root(each) for each in groups))
        one = self._groups[first]
        for number in others:
            other = self._groups[number]
            if one.fixed != other.fixed and (one.forced or other.forced or (one.fixed and other.fixed)):
                ends = sorted({f"{each.fixed[0]:g} .. {each.fixed[1]:g}" for each in (one, other) if each.fixed})
                why = (
                    f"it joins tensors whose ranges cannot be one: {' and '.join(ends)} is fixed, the other is another"
                )
                self.offences.append(Offence(step.layer, kind(step.operation), why, step.operation))
                continue
            one.fixed, one.forced = one.fixed or other.fixed, one.forced or other.forced
            one.members += other.members
            other.joined_to = first
        return first

    def plan(self) -> Plan:
        """The FakeQuants and ranges that were found, under names that do not clash."""
        ranges: list[Range] = []
        quants: list[Quant] = []
        indices: dict[int, int] = {}
        taken: set[str] = set()
        for number, place, role, group, operand in self._placed:
            step = None if number == INPUT else self._steps[number]
            scope = self._path.scope.rstrip("/") if step is None else parent(step.operation.name)
            prefix = _free(f"{scope}/{role}" if scope else role, taken)
            taken.add(prefix)
            if group is None:
                ranges.append(self._constant(number, place, prefix))
                index = len(ranges) - 1
            else:
                root = self._root(group)
                if root not in indices:
                    one = self._groups[root]
                    indices[root] = len(ranges)
                    members = tuple(each for each in one.members if each != INPUT)
                    ranges.append(Range(prefix, one.fixed, () if one.fixed else members))
                index = indices[root]
            layer = "input" if step is None else step.layer
            quants.append(Quant(number, place, layer, role, prefix, index, operand))
        left = tuple(
            LeftFloat(layer, operation.name, why)
            for number, why in self._kept.items()
            for layer, operation in self._places(self._steps[number]).items()
        )
        given = {number: ranges[indices[self._root(group)]] for number, group in self._taken.items()}
        return Plan(tuple(quants), tuple(ranges), left, given)

    def _places(self, step: Step) -> dict[str, tf.Operation]:
        """The layers, by name, that a step's operations stand in: its activation may stand outside of its scope."""
        places = {step.layer: step.operation}
        if step.norm is None or step.output.op.type in ACTIVATION_TYPES:
            places.setdefault(self._path.layer(step.output.op), step.output.op)
        return places

    def _constant(self, number: int, place: Place, prefix: str) -> Range:
        """The range of weights, or of a constant operand: their own extremes."""
        if place == "operand":
            return Range(prefix, learns="last")
        setting = self._settings.get(number)
        # Without the least code the products of two codes fit the accumulators of the fast 8-bit kernels.
        return Range(
            prefix,
            learns="last",
            bits=setting.bits if setting is not None and setting.bits else BITS,
            narrow_range=True,
            symmetric=self._options.scheme != "uint8",
        )


def _free(wanted: str, taken: set[str]) -> str:
    prefix, number = wanted, 0
    while prefix in taken:
        number += 1
        prefix = f"{wanted}_{number}"
    return prefix
