"""The FakeQuants of a network and the ranges that they share, decided before the graph is edited.

Ranges begin at the fused ops with a scale of their own and spread along those that keep their input's scale. Where the
runtime only moves the quantized values of several tensors into one (a concatenation), their ranges become one range,
learnt from all of them. A tensor whose range is fixed, by the runtime or by an override, or clips it, keeps it: it is
requantized to the common range where it is joined (role joined_quant).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.graph.integer_ops import OPS
from qatbuild.quantize.graph.layer_ops import ACTIVATION_TYPES
from qatbuild.quantize.graph.names import join, parent_scope
from qatbuild.quantize.graph.refusals import UnsupportedOp
from qatbuild.quantize.integer.end_ranges import input_ranges, on_grid, output_ranges, refuse_other_range
from qatbuild.quantize.integer.fused_ops import FusedOp
from qatbuild.quantize.integer.path import DataPath
from qatbuild.quantize.options import BITS, Options, Override
from qatbuild.quantize.rewrite_report import LeftFloat

Place = Literal["input", "output", "weights", "operand", "joined"]


def input_index(number: int) -> int:
    """Returns what stands for the network's input of this number in place of the index of a fused op: -1, -2, ..."""
    return -1 - number


def input_number(index: int) -> int:
    """Returns the number of the input that `index` stands for: see input_index."""
    return -1 - index


@dataclass(frozen=True)
class RangeSpec:
    """One range: its origin, and the format of its quantized values.

    prefix        name scope of its variables
    fixed         (min, max) of a range that is not learnt, else None
    observed      indices of the fused ops, or of inputs, from whose outputs it is learnt; empty for weights, learnt
                  from themselves
    learns        "last": the minimum and maximum of each step, "average": their moving average
    bits, narrow_range, symmetric   the format of the quantized values
    """

    prefix: str
    fixed: tuple[float, float] | None = None
    observed: tuple[int, ...] = ()
    learns: Literal["last", "average"] = "average"
    bits: int = BITS
    narrow_range: bool = False
    symmetric: bool = False


@dataclass(frozen=True)
class PlannedFakeQuant:
    """One FakeQuant: at a `place` of the fused op with the index `op`, with the range of the index `range`.

    `operand` is the tensor, for the place "operand"; `position` that of the op's input, for the place "joined".
    """

    op: int
    place: Place
    layer: str
    role: str
    prefix: str
    range: int
    operand: tf.Tensor | None = None
    position: int | None = None


@dataclass(frozen=True)
class RangePlan:
    """All FakeQuants in the order of insertion, their ranges, and the layers that stay float.

    `input_ranges`: the range of a layer's input by the index of its fused op, for the layers that do not stay float.
    """

    fake_quants: tuple[PlannedFakeQuant, ...]
    ranges: tuple[RangeSpec, ...]
    left_float: tuple[LeftFloat, ...]
    input_ranges: Mapping[int, RangeSpec]


class _Placed(NamedTuple):
    """A FakeQuant before its name and range are final. `group` None: a range of its own, of weights or an operand."""

    op: int
    place: Place
    role: str
    group: int | None
    operand: tf.Tensor | None = None
    position: int | None = None


@dataclass
class _Group:
    """Fused ops that share one range; `alone`: the runtime dictates it, or it clips, and no other can be merged."""

    fixed: tuple[float, float] | None = None
    alone: bool = False
    merged_into: int | None = None
    members: list[int] = field(default_factory=list)


def plan(path: DataPath, ops: Sequence[FusedOp], options: Options) -> tuple[RangePlan, list[UnsupportedOp]]:
    """Returns the FakeQuants of a network, and an UnsupportedOp if its logits would be float.

    RewriteError if an override matches no layer.
    """
    planner = _Planner(path, ops, _overrides_by_op(ops, options.overrides), options)
    planner.spread()
    return planner.plan(), planner.unsupported


def _overrides_by_op(ops: Sequence[FusedOp], overrides: Iterable[Override]) -> Mapping[int, Override]:
    """Returns all overrides of a fused op merged into one, by its index."""
    candidates = {index: op for index, op in enumerate(ops) if op.scale == "own_scale"}
    merged: dict[int, Override] = {}
    unmatched = []
    for override in overrides:
        matched = [
            index
            for index, op in candidates.items()
            if any(fnmatchcase(name, override.pattern) for name in (op.layer, op.operation.name))
        ]
        if not matched:
            unmatched.append(override.pattern)
        for index in matched:
            before = merged.get(index, Override(override.pattern))
            merged[index] = replace(override, range=override.range or before.range, bits=override.bits or before.bits)
    if unmatched:
        names = dict.fromkeys(op.layer for op in candidates.values())
        raise RewriteError(
            "An override matches no layer: nothing was changed.",
            [*(("override", pattern) for pattern in unmatched), ("layers", ", ".join(names))],
            "Write the name of a layer; * matches any letters.",
        )
    return merged


class _Planner:
    """Spreads ranges along the fused ops."""

    def __init__(
        self, path: DataPath, ops: Sequence[FusedOp], overrides: Mapping[int, Override], options: Options
    ) -> None:
        self._path, self._ops, self._overrides, self._options = path, ops, overrides, options
        self._groups: list[_Group] = []
        self._group_of: dict[str, int | None] = {}  # by tensor; None: the tensor stays float
        self._placed: list[_Placed] = []
        for number, (tensor, ends) in enumerate(zip(path.inputs, input_ranges(path.inputs, options), strict=True)):
            self._groups.append(_Group(ends, alone=True, members=[input_index(number)]))
            self._group_of[tensor.name] = number
            self._placed.append(_Placed(input_index(number), "input", "input_quant", number))
        self._left_float: dict[int, str] = {}
        self._input_groups: dict[int, int] = {}
        self.unsupported: list[UnsupportedOp] = []

    def spread(self) -> None:
        """Assigns a group to every tensor of the path."""
        for index, op in enumerate(self._ops):
            group = self._output_group(index, op, [self._group_of[tensor.name] for tensor in op.sources])
            for tensor in (*op.operation.outputs, op.output):
                self._group_of[tensor.name] = group
        for end in self._path.ends:
            if self._group_of[end.name] is None:
                last = next(op for op in reversed(self._ops) if end.name in {op.output.name, *_names(op.operation)})
                why = "it computes the logits, so the model's output would be float"
                self.unsupported.append(UnsupportedOp(last.layer, "keep_float", why, last.operation))
        self._fix_ends()

    def _fix_ends(self) -> None:
        """Gives the ends with a range of Options.output_ranges this range, with all that shares it."""
        for end, ends in output_ranges(self._path.ends, self._options).items():
            group = self._group_of[end]
            if group is not None:
                root = self._root(group)
                if root < len(self._path.inputs) or self._groups[root].fixed not in {None, ends}:
                    refuse_other_range(end, ends, self._groups[root].fixed)
                self._groups[root].fixed = ends

    def _output_group(self, index: int, op: FusedOp, inputs: list[int | None]) -> int | None:
        """Returns the group of an op's output from those of its inputs; None if it stays float."""
        override = self._overrides.get(index)
        if None in inputs:
            self._left_float[index] = "its input is float"
        if override is not None and override.keep_float:
            self._left_float[index] = f"the override {override.pattern} keeps it in float"
            return None
        if op.scale in {"same_scale", "shared_scale"}:
            group = None if None in inputs else inputs[0]
            if op.scale == "shared_scale" and group is not None:
                group = self._join(index, op, [each for each in inputs if each is not None])
            if group is not None and self._is_rounded_beside(op):
                self._placed.append(_Placed(index, "output", "moved_quant", group))
            return group
        if op.scale == "same_scale_requantized":
            if inputs[0] is not None:
                self._placed.append(_Placed(index, "output", op.role, inputs[0]))
            return inputs[0]
        if op.is_layer and inputs[0] is not None:
            self._input_groups[index] = inputs[0]
        return self._new_group(index, op, override)

    def _is_rounded_beside(self, op: FusedOp) -> bool:
        """Returns whether several operations read a moved tensor, and one of them rounds it to its own range.

        The converter does not always carry the range over such a max pool or concatenation; a second FakeQuant with the
        same range changes nothing.
        """
        scales = [OPS[each.type].scale for each in self._path.readers.get(op.output.name, ()) if each.type in OPS]
        return len(scales) > 1 and "same_scale_requantized" in scales

    def _new_group(self, index: int, op: FusedOp, override: Override | None) -> int:
        if op.is_layer:
            self._placed.append(_Placed(index, "weights", "weights_quant", None))
        for operand in op.operands:
            self._placed.append(_Placed(index, "operand", "operand_quant", None, operand))
        forced = op.scale == "fixed_output_range"
        fixed = OPS[op.operation.type].fixed if forced else None
        if override is not None and override.range is not None:
            fixed = override.range
        self._groups.append(_Group(fixed, forced or op.clip is not None, members=[index]))
        self._placed.append(_Placed(index, "output", op.role, len(self._groups) - 1))
        return len(self._groups) - 1

    def _root(self, group: int) -> int:
        following = self._groups[group].merged_into
        return group if following is None else self._root(following)

    def _join(self, index: int, op: FusedOp, groups: list[int]) -> int:
        """Returns the group of an op with one range: that of its inputs, or one to which some are requantized."""
        roots = sorted({self._root(each) for each in groups})
        ranges = {self._groups[each].fixed for each in roots}
        if len(roots) > 1 and not (len(ranges) == 1 and None not in ranges):
            roots = [each for each in roots if not self._groups[each].alone]
            fixed = next((each.fixed for each in map(self._groups.__getitem__, roots) if each.fixed), None)
            roots = [each for each in roots if self._groups[each].fixed in {None, fixed}]
        if not roots:
            self._groups.append(_Group())
            roots = [len(self._groups) - 1]
        common = self._merge(roots)
        requantized = [each for each in dict.fromkeys(groups) if self._root(each) != common]
        for position, tensor in enumerate(op.operation.inputs):
            if self._group_of.get(tensor.name) in requantized and op.operation.inputs.index(tensor) == position:
                self._placed.append(_Placed(index, "joined", "joined_quant", common, position=position))
        for each in requantized:
            self._groups[common].members += self._groups[self._root(each)].members
        return common

    def _merge(self, roots: Sequence[int]) -> int:
        """Merges groups into the first of them and returns it."""
        first, *others = roots
        one = self._groups[first]
        for index in others:
            other = self._groups[index]
            one.fixed, one.alone = one.fixed or other.fixed, one.alone or other.alone
            one.members += other.members
            other.merged_into = first
        return first

    def plan(self) -> RangePlan:
        """Returns the FakeQuants and their ranges, under unique names."""
        ranges: list[RangeSpec] = []
        fake_quants: list[PlannedFakeQuant] = []
        range_of_group: dict[int, int] = {}
        taken: set[str] = set()
        for placed in self._placed:
            op = None if placed.op < 0 else self._ops[placed.op]
            scope = self._path.scope.rstrip("/") if op is None else parent_scope(op.operation.name)
            prefix = _unique(join(scope, placed.role), taken)
            taken.add(prefix)
            group = None if placed.group is None else self._root(placed.group)
            if group is None:
                index = len(ranges)
                ranges.append(self._constant_range(placed, prefix))
            else:
                if group not in range_of_group:
                    range_of_group[group] = len(ranges)
                    ranges.append(self._shared_range(group, prefix))
                index = range_of_group[group]
            layer = self._input_name(placed.op) if op is None else op.layer
            fake_quants.append(
                PlannedFakeQuant(placed.op, placed.place, layer, placed.role, prefix, index, *placed[4:])
            )
        left_float = tuple(
            LeftFloat(layer, operation.name, why)
            for index, why in self._left_float.items()
            for layer, operation in self._layers(self._ops[index]).items()
        )
        input_ranges = {index: ranges[range_of_group[self._root(group)]] for index, group in self._input_groups.items()}
        return RangePlan(tuple(fake_quants), tuple(ranges), left_float, input_ranges)

    def _input_name(self, op: int) -> str:
        several = len(self._path.inputs) > 1
        return str(self._path.inputs[input_number(op)].op.name) if several else "input"

    def _layers(self, op: FusedOp) -> dict[str, tf.Operation]:
        """Returns the layers of a fused op by name: its activation may be outside of its name scope."""
        layers = {op.layer: op.operation}
        if op.norm is None or op.output.op.type in ACTIVATION_TYPES:
            layers.setdefault(self._path.layer(op.output.op), op.output.op)
        return layers

    def _shared_range(self, group: int, prefix: str) -> RangeSpec:
        """Returns the range of a group: fixed, or learnt from the outputs of its members."""
        root = self._groups[group]
        if root.fixed:
            return RangeSpec(prefix, on_grid(root.fixed))
        return RangeSpec(prefix, None, tuple(dict.fromkeys(root.members)))

    def _constant_range(self, placed: _Placed, prefix: str) -> RangeSpec:
        """Returns the range of weights or of a constant operand: its own minimum and maximum."""
        if placed.place == "operand":
            return RangeSpec(prefix, learns="last")
        override = self._overrides.get(placed.op)
        # narrow_range: the products of two quantized values then fit the accumulators of the fast 8-bit kernels.
        return RangeSpec(
            prefix,
            learns="last",
            bits=override.bits if override is not None and override.bits else BITS,
            narrow_range=True,
            symmetric=self._options.scheme != "uint8",
        )


def _names(operation: tf.Operation) -> list[str]:
    return [str(each.name) for each in operation.outputs]


def _unique(wanted: str, taken: set[str]) -> str:
    """Returns `wanted`, or `wanted_1`, `wanted_2`, ...: the first that is not taken."""
    prefix, number = wanted, 0
    while prefix in taken:
        number += 1
        prefix = f"{wanted}_{number}"
    return prefix
