"""Calibration: run a float graph on images and measure the ranges of a plan.

The graph is the float one with its batch norms folded, as `plan_inference` leaves it. Tensors that depend on the input
are observed batch by batch; the others, weights, are constant, and their range is their minimum and maximum. Tensors
that share a range in the plan are observed together. Every range contains 0 (Jacob et al. 2018, section 3.1: padding
needs an exact zero); a symmetric one is -a .. a.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.calibrate import hard_swish
from qatbuild.quantize.calibrate.observers import (
    MeasuredRange,
    MinMaxObserver,
    Observer,
    Values,
    extremes,
    union,
    with_zero,
)
from qatbuild.quantize.graph.fake_quant import SMALLEST_RANGE, halfway_zero_point, quant_limits, symmetric_ratio
from qatbuild.quantize.graph.hard_swish import hard_swish_input
from qatbuild.quantize.graph.names import each_of
from qatbuild.quantize.graph.walk import reachable, readers
from qatbuild.quantize.rewrite_report import QuantizedTensor, RewriteReport

Key = tuple[str, str]
"""The names of the two variables of a range."""

Batch = Values | Mapping[str, Values]
"""Examples of one input, or of several by name."""


def calibrate(
    session: tf.compat.v1.Session,
    plan: RewriteReport,
    source: str | Sequence[str],
    batches: Callable[[], Iterable[Batch]],
    new_observer: Callable[[], Observer] = MinMaxObserver,
) -> dict[str, Values]:
    """Measures the ranges of a plan; returns the value of each range variable by name, float32 scalars or [channels].

    `session` runs the graph of which `plan_inference` made the plan, with its variables restored; `source` names the
    input operation, or several. `batches()` returns the examples, float32 [batch, ...] of real values by name of the
    input, or without a name for one input, the same at each call.
    RewriteError naming each tensor whose values are not finite, or are all 0 for all examples.
    """
    sources = [each.partition(":")[0] for each in each_of(source)]
    dependent = reachable(map(session.graph.get_operation_by_name, sources), readers)
    rows = [row for row in plan.quantized if row.fixed is None]
    varying = [row for row in rows if session.graph.get_tensor_by_name(row.tensor).op in dependent]
    constant = [row for row in rows if row not in varying]
    measured: dict[Key, list[MeasuredRange]] = {}
    for key, observer in _observe(session, varying, sources, batches, new_observer).items():
        measured.setdefault(key, []).append(MeasuredRange(*observer.measured()))
    values = session.run([row.tensor for row in constant])
    _refuse_not_finite(constant, values)
    for key, parts in _by_range(constant, values).items():
        measured.setdefault(key, []).append(_with_dead_channels(extremes(parts)))
    ranges = {_key(row): _quantizable(union(measured[_key(row)]), row) for row in rows}
    _refuse_empty(varying, ranges)  # any range represents constants of 0
    ranges = {key: _widened(each) for key, each in ranges.items()}
    _widen_hard_swishes(session.graph, plan.quantized, ranges)
    return {name: end.astype(np.float32) for key, each in ranges.items() for name, end in zip(key, each, strict=True)}


def _observe(
    session: tf.compat.v1.Session,
    rows: list[QuantizedTensor],
    sources: Sequence[str],
    batches: Callable[[], Iterable[Batch]],
    new_observer: Callable[[], Observer],
) -> dict[Key, Observer]:
    """Shows all batches to one observer per range, as many times as it needs; returns the observers."""
    observers = {_key(row): new_observer() for row in rows}
    for left in range(max((each.passes for each in observers.values()), default=0), 0, -1):
        for batch in batches():
            fed = batch if isinstance(batch, Mapping) else dict(zip(sources, [batch], strict=True))
            feeds = {f"{name.partition(':')[0]}:0": values for name, values in fed.items()}
            values = session.run([row.tensor for row in rows], feeds)
            _refuse_not_finite(rows, values)
            for key, parts in _by_range(rows, values).items():
                observers[key].see(parts)
        if left > 1:
            for each in observers.values():
                each.next_pass()
    return observers


def _key(row: QuantizedTensor) -> Key:
    return row.min_variable, row.max_variable


def _by_range(rows: Iterable[QuantizedTensor], values: Iterable[Values]) -> dict[Key, list[tuple[Values, int | None]]]:
    """Groups the values of tensors that share a range, each with its quantized dimension."""
    parts: dict[Key, list[tuple[Values, int | None]]] = {}
    for row, value in zip(rows, values, strict=True):
        parts.setdefault(_key(row), []).append((value, row.quantized_dimension))
    return parts


def _with_dead_channels(measured: MeasuredRange) -> MeasuredRange:
    """Gives the channels of zeros, which any range represents exactly, the range of the whole tensor: no empty one."""
    dead = (measured.min == 0) & (measured.max == 0)
    return MeasuredRange(
        np.where(dead, measured.min.min(), measured.min), np.where(dead, measured.max.max(), measured.max)
    )


def _quantizable(measured: MeasuredRange, row: QuantizedTensor) -> MeasuredRange:
    """Widens a range to contain 0, and makes it symmetric if the row is."""
    least, greatest = with_zero(measured)
    if not row.symmetric:
        return _on_grid(MeasuredRange(least, greatest), row)
    ratio = symmetric_ratio(row.bits, narrow_range=row.narrow_range)
    return MeasuredRange(np.minimum(least, greatest / ratio), np.maximum(greatest, least * ratio))


def _on_grid(measured: MeasuredRange, row: QuantizedTensor) -> MeasuredRange:
    """Widens a range whose zero point lies halfway between two integers so far that it is the upper one.

    So is that of bytes which the network scales to -1 .. 1. Moved, as a fixed range is, it would leave each of these
    256 values halfway between two quantized ones, which every set of kernels rounds in its own way.
    """
    least, greatest = measured
    quant_min, quant_max = quant_limits(row.bits, narrow_range=row.narrow_range)
    steps = quant_max - quant_min
    if measured.min.ndim or least == greatest or not halfway_zero_point(float(least), float(greatest), steps):
        return measured
    below = np.ceil(-least * steps / (greatest - least))
    scale = np.maximum(-least / below, greatest / (steps - below))
    return MeasuredRange(-below * scale, (steps - below) * scale)


def _widened(measured: MeasuredRange) -> MeasuredRange:
    """Widens a range to SMALLEST_RANGE, as in training; a symmetric one stays symmetric."""
    least, greatest = measured
    symmetric = np.maximum(greatest, SMALLEST_RANGE)
    return MeasuredRange(
        np.where(least == -greatest, -symmetric, least),
        np.where(least == -greatest, symmetric, np.maximum(greatest, least + SMALLEST_RANGE)),
    )


def _widen_hard_swishes(graph: tf.Graph, rows: Iterable[QuantizedTensor], ranges: dict[Key, MeasuredRange]) -> None:
    """Widens the ranges of hard-swishes in place to those in which the kernel computes what the graph does."""
    by_tensor = {row.tensor: row for row in rows}
    for row in by_tensor.values():
        x = hard_swish_input(graph.get_tensor_by_name(row.tensor).op)
        source = None if x is None else by_tensor.get(x.name)
        if source is not None and row.fixed is None:
            fixed = None if source.fixed is None else MeasuredRange(*np.asarray(source.fixed))
            ranges[_key(row)] = hard_swish.widened(fixed or ranges[_key(source)], ranges[_key(row)])


def _refuse_not_finite(rows: Iterable[QuantizedTensor], values: Iterable[Any]) -> None:
    # The minimum or maximum is not finite if any value is not.
    faults: list[tuple[tuple[str, object], QuantizedTensor]] = [
        ((row.tensor, f"{row.layer}: has values that are no numbers (NaN or infinite)"), row)
        for row, value in zip(rows, values, strict=True)
        if not (np.isfinite(value.min()) and np.isfinite(value.max()))
    ]
    inputs = [fault for fault, row in faults if row.is_input]
    if inputs:
        raise RewriteError("A range cannot be measured.", inputs, "The data hold them: leave out these examples.")
    if faults:
        hint = "The float network itself computes them: look at its weights and its validation top-1."
        raise RewriteError("A range cannot be measured.", [fault for fault, _ in faults], hint)


def _refuse_empty(rows: Iterable[QuantizedTensor], ranges: dict[Key, MeasuredRange]) -> None:
    empty = [row for row in rows if not np.all(ranges[_key(row)].min < ranges[_key(row)].max)]
    faults: list[tuple[str, object]] = [(row.tensor, f"{row.layer}: all values in the range are 0") for row in empty]
    if any(row.is_input for row in empty):
        hint = "An input without a fixed range needs data other than 0: give it a range."
        raise RewriteError("A range cannot be measured.", faults, hint)
    if faults:
        hint = "The layer gives only zeros: look at its weights; or calibrate on more images, or by min_max."
        raise RewriteError("A range cannot be measured.", faults, hint)
