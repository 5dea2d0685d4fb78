"""model_io.h and test_vectors.h of the route c_array: types, shapes, scales and conversions of the model's ends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.facts import IntegerTensor
from qatbuild.exchange.scaling import InputScaling, RealInput, Scaling
from qatbuild.worker.deploy import Subject
from qatbuild.worker.deploy.c_array_operators import AS_OF, Resolver

_ROW = 16

_QUANTIZE = """\
// The integer of a real value: halves are rounded away from 0, and what is beyond the range becomes its end.
static inline {type} {prefix}quantize_{name}(float value) {{
  const double steps = (double)value / (double){macro}_SCALE;
  if (!(steps > {lowest} - {macro}_ZERO_POINT)) return {lowest};
  if (steps > {highest} - {macro}_ZERO_POINT) return {highest};
  return ({type})((int)(steps < 0 ? steps - 0.5 : steps + 0.5) + {macro}_ZERO_POINT);
}}
"""
_DEQUANTIZE = """\
// The real value of an integer.
static inline float {prefix}dequantize_{name}({type} value) {{
  return (float)(value - {macro}_ZERO_POINT) * {macro}_SCALE;
}}
"""


class End(NamedTuple):
    """An input or output of the model in C.

    `key` is its name in the subject; `name` that in functions and arrays ("input", "input_features"); `array` what
    follows test_ ("inputs", "inputs_features"); `macro` the beginning of its macros; `at` its place in the file; `note`
    what else must be known of an input of bytes.
    """

    key: str
    name: str
    array: str
    macro: str
    at: int
    tensor: IntegerTensor
    is_real: bool
    note: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example, with the batch 1."""
        return (1, *self.tensor.shape[1:])


class Names(NamedTuple):
    """The names of a model in C, and its ends; `converts` says whether model_io.h has functions that convert."""

    array: str
    prefix: str
    macro: str
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]

    @property
    def quantized(self) -> tuple[End, ...]:
        """The inputs that a function converts: those of real values."""
        return tuple(each for each in self.inputs if each.is_real)

    @property
    def dequantized(self) -> tuple[End, ...]:
        """The outputs that a function converts: all of whose integers stand for real values, if any end has such."""
        if not any(each.is_real for each in (*self.inputs, *self.outputs)):
            return ()
        return tuple(each for each in self.outputs if each.tensor.dtype != "int32")


def names(name: str, subject: Subject) -> Names:
    """Returns the names of the model `name`; those of its ends only if there are several inputs, or outputs."""
    prefix, macro = f"g_{name}_", f"{name.upper()}_"
    real_inputs = {each for each, taken in subject.inputs.items() if isinstance(taken.scaling, RealInput)}
    real_outputs = subject.gives.keys() - subject.class_names.keys()
    return Names(
        f"{prefix}model_data",
        prefix,
        macro,
        tuple(
            end._replace(note=_note(end, subject.inputs[end.key].scaling))
            for end in _ends("input", subject.takes, real_inputs, macro)
        ),
        _ends("output", subject.gives, real_outputs, macro),
    )


def _ends(side: str, tensors: Mapping[str, IntegerTensor], real: Collection[str], prefix: str) -> tuple[End, ...]:
    ends: list[End] = []
    for at, (key, tensor) in enumerate(tensors.items()):
        part = key.replace("/", "_")
        # Two names of the spec may differ in small letters only, or only by "/" and "_".
        if part.upper() in [each.key.replace("/", "_").upper() for each in ends]:
            part = f"{part}_{at}"
        suffix = f"_{part}" if len(tensors) > 1 else ""
        macro = f"{prefix}{side.upper()}{suffix.upper()}"
        ends.append(End(key, f"{side}{suffix}", f"{side}s{suffix}", macro, at, tensor, key in real))
    return tuple(ends)


def _note(end: End, scaling: InputScaling) -> str:
    """Returns what scale and zero point do not say of an input of bytes: its order of colours, scalings by channel."""
    texts = []
    if isinstance(scaling, Scaling) and scaling.order != "rgb":
        texts.append(f"its channels are in the order {scaling.order}")
    if isinstance(scaling, Scaling) and scaling.channels:
        means, deviations = (", ".join(f"{each:g}" for each in values) for values in scaling.channels)
        less = " - 128" if end.tensor.dtype == "int8" else ""
        texts.append(
            f"it takes byte{less}; (byte - mean) / std_dev by channel is a part of its first layers, with the means"
            f" {means} and the deviations {deviations}"
        )
    return "; ".join(texts)


def guarded(guard: str, includes: Iterable[str], body: str) -> str:
    """Returns the text of a header."""
    lines = "".join(f"#include <{name}>\n" for name in includes)
    return f"#ifndef {guard}_\n#define {guard}_\n\n{lines}\n{body}\n#endif  // {guard}_\n"


def io_header(model: Names, needed: Resolver) -> str:
    """Returns model_io.h."""
    title = "INPUT, OUTPUT" if max(len(model.inputs), len(model.outputs)) == 1 else "INPUTS, OUTPUTS"
    lines = [f"// {title}: real = (integer - ZERO_POINT) * SCALE"]
    for side in (model.inputs, model.outputs):
        for each in side:
            lines += _macros(each, several=len(side) > 1)
    lines += [
        "",
        f"// For a tflite::MicroMutableOpResolver<{len(needed.adders)}>:",
        *(f"//   resolver.{adder}();" for adder in needed.adders),
        *(f"// TFLite Micro ({AS_OF}) has no {name}." for name in needed.missing),
    ]
    functions = [_function(_QUANTIZE, each, model.prefix) for each in model.quantized]
    functions += [_function(_DEQUANTIZE, each, model.prefix) for each in model.dequantized]
    body = "\n".join(lines) + "\n" + "".join(f"\n{each}" for each in functions)
    return guarded(f"{model.macro}MODEL_IO_H", ("stdint.h",), body)


def _macros(end: End, *, several: bool) -> Iterator[str]:
    prefix, tensor = f"#define {end.macro}_", end.tensor
    if end.note:
        yield f"// {end.macro}: {end.note}"
    if several:
        yield f"{prefix}INDEX {end.at}"
    yield f"{prefix}TYPE {tensor.dtype}_t"
    yield f"{prefix}DIMENSIONS {len(end.shape)}"
    yield f"{prefix}SHAPE {{{', '.join(map(str, end.shape))}}}"
    yield f"{prefix}SIZE {int(np.prod(end.shape))}"
    yield f"{prefix}SCALE {c_float(tensor.scale)}"
    yield f"{prefix}ZERO_POINT ({tensor.zero_point})"


def _function(template: str, end: End, prefix: str) -> str:
    limits = np.iinfo(end.tensor.dtype)
    return template.format(
        type=f"{end.tensor.dtype}_t",
        prefix=prefix,
        name=end.name,
        macro=end.macro,
        lowest=int(limits.min),
        highest=int(limits.max),
    )


def c_float(value: float) -> str:
    """Returns the literal of a float."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def vectors(model: Names, subject: Subject, count: int) -> str:
    """Returns test_vectors.h with `count` examples."""
    samples, prefix, tables = subject.samples, model.prefix, []
    for end, rows in [
        *((end, samples.integers[end.key]) for end in model.inputs),
        *((end, samples.reference[end.key]) for end in model.outputs),
    ]:
        tables.append(_table(f"{end.tensor.dtype}_t", f"{prefix}test_{end.array}", rows[:count]))
    used = [end.array for end in (*model.inputs, *model.outputs)]
    for end in model.quantized:
        tables.append(_table("float", f"{prefix}test_real_{end.array}", samples.raw[end.key][:count]))
        used.append(f"real_{end.array}")
    what = subject.examples
    body = (
        f"// Test {what} as the model takes them, and the outputs of LiteRT's {samples.kernels_in_words}.\n"
        f"#define {model.macro}TEST_COUNT {count}\n\n" + "\n".join(tables)
    )
    for output in subject.class_names:
        (target,) = subject.tasks[output].targets
        name = "classes" if len(subject.tasks) == 1 else f"classes_{output}"
        classes = ", ".join(str(int(each)) for each in samples.targets[target][:count])
        body += f"\n// The {what}' true classes.\nstatic const int {prefix}test_{name}[{count}] = {{{classes}}};\n"
        used.append(name)
    uses = "".join(f"  (void){prefix}test_{name};\n" for name in used)
    body += f"\nstatic inline void {prefix}test_vectors_used(void) {{\n{uses}}}\n"
    return guarded(f"{model.macro}TEST_VECTORS_H", ("stdint.h",), body)


def _table(kind: str, name: str, rows: NDArray[Any]) -> str:
    flat = rows.reshape(len(rows), -1)
    body = ",\n".join(f"    {{{text}}}" for text in _texts(flat))
    return f"static const {kind} {name}[{len(flat)}][{flat.shape[1]}] = {{\n{body}}};\n"


def _texts(flat: NDArray[Any]) -> Iterator[str]:
    for row in flat:
        values = [c_float(float(value)) if flat.dtype == np.float32 else str(int(value)) for value in row]
        yield ",\n     ".join(", ".join(values[start : start + _ROW]) for start in range(0, len(values), _ROW))
