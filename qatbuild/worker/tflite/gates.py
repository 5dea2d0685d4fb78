"""The gates of a converted file: it is fully integer, LiteRT loads it, input and output have the wanted scales."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

from qatbuild.exchange.errors import ConversionError
from qatbuild.exchange.facts import Gate
from qatbuild.worker.tflite.inspect import Tensor, read, unsupported_ops
from qatbuild.worker.tflite.interpret import Model
from qatbuild.worker.tflite.reference import Refused, refused

FULLY_INTEGER = "fully integer"
"""The name of the first gate."""

_SOFTMAX_SCALE = 1 / 256
_LOADED_WITH = ("xnnpack", "reference")


def gates(path: Path, *, mean: float, std_dev: float, scheme: str, float_layers: Collection[str] = ()) -> list[Gate]:
    """Return the gates of the converted file at `path`: fully integer, loads, input, output.

    The input must be real = (byte - mean) / std_dev, the output a softmax of scale 1/256 and zero point 0; for int8
    both zero points are 128 lower. `float_layers` may stay float. ConversionError if the file is not a .tflite.
    """
    dtype, shift = ("uint8", 0) if scheme == "uint8" else ("int8", 128)
    model = read(path)
    unsupported = unsupported_ops(model, scheme, float_layers)
    input_tensor, output_tensor = (model.tensors[index] for index in (model.inputs[0], model.outputs[0]))
    integers = f"{dtype} and int32 only" + (f", {', '.join(sorted(float_layers))} in float" if float_layers else "")
    got = f"{len(unsupported)} operations that are not" if unsupported else integers
    return [
        Gate(FULLY_INTEGER, integers, got, passed=not unsupported),
        _loads(path, refused(model)),
        _affine("input", input_tensor, dtype, 1 / std_dev, int(mean) - shift),
        _affine("output", output_tensor, dtype, _SOFTMAX_SCALE, -shift),
    ]


def _loads(path: Path, cannot: Refused | None) -> Gate:
    wanted = f"with {' and '.join(_LOADED_WITH)} kernels"
    for kernels in _LOADED_WITH:
        try:
            Model(path, kernels=kernels)
        except ConversionError as fault:
            return Gate("loads", wanted, f"with {kernels}: {dict(fault.facts)['LiteRT']}", passed=False)
    return Gate("loads", wanted, f"{wanted}; the reference kernels {cannot.why}" if cannot else wanted, passed=True)


def _affine(name: str, tensor: Tensor, dtype: str, scale: float, zero_point: int) -> Gate:
    # The file holds the scale as float32: equal up to its 24 bits.
    same = len(tensor.scales) == 1 and math.isclose(tensor.scales[0], scale, rel_tol=2**-23)
    passed = same and tensor.dtype == dtype and tensor.zero_points == (zero_point,)
    wanted = f"{dtype}, scale {scale:.7g}, zero point {zero_point}"
    scales, points = (" ".join(f"{value:.7g}" for value in values) for values in (tensor.scales, tensor.zero_points))
    return Gate(name, wanted, f"{tensor.dtype}, scale {scales or 'none'}, zero point {points or 'none'}", passed=passed)
