"""The ranges of a network's inputs and of its ends, as the options name them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NoReturn, TypeVar

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.graph.fake_quant import halfway_zero_point
from qatbuild.quantize.graph.names import tensor_name
from qatbuild.quantize.options import BITS, Options, Range

T = TypeVar("T")


def input_ranges(inputs: Sequence[tf.Tensor], options: Options) -> list[Range | None]:
    """Returns the range of each input, None for one that is learnt or measured.

    Without an entry it is that of bytes, by mean and std_dev. RewriteError for an entry that names no input.
    """
    asked = _by_tensor(options.input_ranges, inputs, "input_ranges")
    in_bytes = -options.mean / options.std_dev, (2**BITS - 1 - options.mean) / options.std_dev
    return [asked.get(each.name, in_bytes) for each in inputs]


def output_ranges(ends: Sequence[tf.Tensor], options: Options) -> Mapping[str, Range]:
    """Returns the fixed ranges of ends by tensor name; RewriteError for an entry that names no end."""
    return _by_tensor(options.output_ranges, ends, "output_ranges")


def refuse_other_range(end: str, asked: Range, existing: Range | None) -> NoReturn:
    """Raises a RewriteError for an end that has another range already, `existing`, or that of an input."""
    raise RewriteError(
        "An output has another range already: nothing was changed.",
        [("output", end), ("range", _text(asked)), ("it has", _text(existing) if existing else "an input's range")],
        "Leave its range out: the one that it has is the runtime's, an override's, an input's or another output's.",
    )


def on_grid(ends: Range) -> Range:
    """Returns a fixed range, moved where training and file would else have two zero points for it.

    All values would differ by a step.
    """
    steps = 2**BITS - 1
    if not halfway_zero_point(*ends, steps):
        return ends
    scale = (ends[1] - ends[0]) / steps
    zero_point = math.floor(-ends[0] / scale) + 1
    return -zero_point * scale, (steps - zero_point) * scale


def _text(ends: Range) -> str:
    return f"{ends[0]:g} .. {ends[1]:g}"


def _by_tensor(ranges: Mapping[str, T], tensors: Iterable[tf.Tensor], option: str) -> dict[str, T]:
    names = [str(each.name) for each in tensors]
    by_tensor = {tensor_name(name): each for name, each in ranges.items()}
    _refuse_unknown(set(by_tensor) - set(names), names, option)
    return by_tensor


def _refuse_unknown(unknown: Collection[str], names: Sequence[str], option: str) -> None:
    if unknown:
        raise RewriteError(
            "A range is for a tensor that is not at an end of the network: nothing was changed.",
            [*((option, name) for name in sorted(unknown)), ("tensors", ", ".join(names))],
            "Write the name of one of these tensors.",
        )
