"""The gates of a converted file: it is fully integer, it loads, its input and output are those of the spec."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

from qatbuild.exchange.errors import ConversionError
from qatbuild.exchange.facts import Gate
from qatbuild.worker.tflite.inspect import Tensor, read, violations
from qatbuild.worker.tflite.interpret import Model

FULLY_INTEGER = "fully integer"
"""The name of the first gate."""

_SOFTMAX_SCALE = 1 / 256
_LOADED_WITH = ("xnnpack", "reference")


def gates(path: Path, *, mean: float, std_dev: float, scheme: str, float_layers: Collection[str] = ()) -> list[Gate]:
    """The gates of the converted file at `path`: fully integer, loads, input, output.

    The input must be real = (byte - mean) / std_dev, the output a softmax of scale 1/256 from 0 on; as int8 both zero
    points are 128 lower. `float_layers` may stay float. Raises ConversionError if the file is not a .tflite.
    """
    dtype, shift = ("uint8", 0) if scheme == "uint8" else ("int8", 128)
    model = read(path)
    found = violations(model, scheme, float_layers)
    given, result = (model.tensors[index] for index in (model.inputs[0], model.outputs[0]))
    integers = f"{dtype} and int32 only" + (f", {', '.join(sorted(float_layers))} in float" if float_layers else "")
    got = f"{len(found)} operations that are not" if found else integers
    return [
        Gate(FULLY_INTEGER, integers, got, passed=not found),
        _loads(path),
        _affine("input", given, dtype, 1 / std_dev, int(mean) - shift),
        _affine("output", result, dtype, _SOFTMAX_SCALE, -shift),
    ]


def _loads(path: Path) -> Gate:
    wanted = f"with {' and '.join(_LOADED_WITH)} kernels"
    for kernels in _LOADED_WITH:
        try:
            Model(path, kernels=kernels)
        except ConversionError as fault:
            return Gate("loads", wanted, f"with {kernels}: {dict(fault.facts)['LiteRT']}", passed=False)
    return Gate("loads", wanted, wanted, passed=True)


def _affine(name: str, tensor: Tensor, dtype: str, scale: float, zero_point: int) -> Gate:
    # The file holds the scale as float32: equal up to its 24 bits.
    same = len(tensor.scales) == 1 and math.isclose(tensor.scales[0], scale, rel_tol=2**-23)
    passed = same and tensor.dtype == dtype and tensor.zero_points == (zero_point,)
    wanted = f"{dtype}, scale {scale:.7g}, zero point {zero_point}"
    scales, points = (" ".join(f"{value:.7g}" for value in found) for found in (tensor.scales, tensor.zero_points))
    return Gate(name, wanted, f"{tensor.dtype}, scale {scales or 'none'}, zero point {points or 'none'}", passed=passed)
