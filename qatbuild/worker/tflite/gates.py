"""The gates of a converted file: it is fully integer, LiteRT loads it, inputs and outputs have the wanted scales."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from qatbuild.exchange.errors import ConversionError
from qatbuild.exchange.facts import Gate
from qatbuild.worker.tflite.ends import End, Ends
from qatbuild.worker.tflite.inspect import Tensor, read, unsupported_ops
from qatbuild.worker.tflite.interpret import Model
from qatbuild.worker.tflite.reference import Refused, refused

FULLY_INTEGER = "fully integer"
"""The name of the first gate."""

_LOADED_WITH = ("xnnpack", "reference")


def gates(path: Path, ends: Ends, *, scheme: str, float_layers: Collection[str] = ()) -> list[Gate]:
    """Returns the gates of the converted file at `path`: fully integer, loads, and one for each input and output.

    `ends` are the wanted integers; `float_layers` may stay float. ConversionError if the file is not a .tflite.
    """
    dtype = "uint8" if scheme == "uint8" else "int8"
    model = read(path)
    unsupported = unsupported_ops(model, scheme, float_layers)
    integers = f"{dtype} and int32 only" + (f", {', '.join(sorted(float_layers))} in float" if float_layers else "")
    got = f"{len(unsupported)} operations that are not" if unsupported else integers
    return [
        Gate(FULLY_INTEGER, integers, got, passed=not unsupported),
        _loads(path, refused(model)),
        *_affine("input", ends.inputs, [model.tensors[index] for index in model.inputs]),
        *_affine("output", ends.outputs, [model.tensors[index] for index in model.outputs]),
    ]


def _loads(path: Path, cannot: Refused | None) -> Gate:
    wanted = f"with {' and '.join(_LOADED_WITH)} kernels"
    for kernels in _LOADED_WITH:
        try:
            Model(path, kernels=kernels)  # By the file's own names: a gate compares their number.
        except ConversionError as fault:
            return Gate("loads", wanted, f"with {kernels}: {dict(fault.facts)['LiteRT']}", passed=False)
    return Gate("loads", wanted, f"{wanted}; the reference kernels {cannot.why}" if cannot else wanted, passed=True)


def _affine(side: str, ends: Mapping[str, End], tensors: Sequence[Tensor]) -> Iterator[Gate]:
    """Yields a gate for each end: "input", or "input NAME" of several."""
    if len(ends) != len(tensors):
        yield Gate(f"{side}s", f"{len(ends)}: {', '.join(ends)}", f"{len(tensors)}", passed=False)
        return
    for (name, end), tensor in zip(ends.items(), tensors, strict=True):
        wanted = f"{end.dtype}, scale {end.scale:.7g}, zero point {end.zero_point}"
        scales, points = tensor.scales or (1.0,), tensor.zero_points or (0,)  # Classes are whole numbers without any.
        # The file holds the scale as float32: equal up to its 24 bits.
        same = len(scales) == 1 and math.isclose(scales[0], end.scale, rel_tol=2**-23)
        passed = same and tensor.dtype == end.dtype and tuple(points) == (end.zero_point,)
        got = f"{tensor.dtype}, scale {_listed(tensor.scales)}, zero point {_listed(tensor.zero_points)}"
        yield Gate(side if len(ends) == 1 else f"{side} {name}", wanted, got, passed=passed)


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:.7g}" for value in values) or "none"
