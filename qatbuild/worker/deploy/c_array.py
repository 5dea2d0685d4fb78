"""The .tflite as C arrays, in the style of TFLite Micro, compiled and read back.

`model_data.cc` and `.h` hold the file, `model_io.h` the types, shapes and scales of input and output, and the operators
for TFLite Micro's resolver, `test_vectors.h` a few test images and the outputs of LiteRT's reference kernels for them.
All of it is C99 as well as C++17: rename the .cc to .c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.facts import Gate
from qatbuild.worker.deploy import Outcome, Subject, tools
from qatbuild.worker.deploy.c_array_operators import AS_OF, Resolver, resolver
from qatbuild.worker.tflite import inspect, reference
from qatbuild.worker.tflite.interpret import Model

_ROW = 16
_LANGUAGES = {"C99": ("cc", "gcc", "clang"), "C++17": ("c++", "g++", "clang++")}
_STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")

_ROUND_TRIP = """\
#include <stdio.h>
#include "model_data.h"
#include "model_io.h"
#include "test_vectors.h"

int main(void) {{
  if (sizeof({prefix}test_outputs[0]) != {PREFIX}OUTPUT_SIZE * sizeof({prefix}test_outputs[0][0])) return 2;
  return fwrite({array}, 1, {array}_size, stdout) == {array}_size ? 0 : 1;
}}
"""


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Write the four files. Gates: they compile without a warning, as C99 and as C++17, and hold the same bytes.

    With the runtime tflm, TFLite Micro must have all of the model's operators.
    """
    model = inspect.read(subject.tflite)
    needed = resolver(operator.name for operator in model.operators)
    data, names = subject.tflite.read_bytes(), _names(options["name"])
    ends = model.tensors[model.inputs[0]], model.tensors[model.outputs[0]]
    count = min(options["vectors"], len(subject.samples.images))
    warnings = _warnings(model, needed)
    for file, text in {
        "model_data.h": _data_header(names, warnings),
        "model_data.cc": _data_source(names, data, options["alignment_bytes"]),
        "model_io.h": _io_header(names, needed, *ends),
        "test_vectors.h": _vectors(names, ends, subject, count),
    }.items():
        (out / file).write_text(text, encoding="utf-8")
    versions: dict[str, str] = {}
    gates = [_has_all_operators(needed)] if options["runtime"] == "tflm" else []
    for language, compilers in _LANGUAGES.items():
        compiler = tools.program(*compilers, route="c_array", debian="gcc g++")
        versions[language] = tools.called([compiler, "--version"], "The compiler cannot be run.").splitlines()[0]
        back = _round_trip(compiler, language, names, out, subject.work)
        gates.append(_same_bytes(language, data, back))
    rerun = subject.work / "round_trip.tflite"
    rerun.write_bytes(back)
    answers = subject.real(Model(rerun, kernels=subject.samples.kernels).run(subject.samples.images))
    figures: dict[str, Any] = {
        "array": names["array"],
        "model_bytes": len(data),
        "vectors": count,
        "operators": list(needed.adders),
        "missing_operators": list(needed.missing),
    }
    return Outcome(
        artifact="model_data.cc",
        versions=versions,
        answers={"model_data.cc": answers},
        gates=tuple(gates),
        figures=figures,
        notes=(f"{len(data):,} bytes in flash", f"{len(needed.adders)} operators", f"{count} test vectors"),
        warnings=warnings,
    )


def _names(name: str) -> dict[str, str]:
    return {"name": name, "array": f"g_{name}_model_data", "prefix": f"g_{name}_", "PREFIX": f"{name.upper()}_"}


def _warnings(model: inspect.Flatbuffer, needed: Resolver) -> tuple[str, ...]:
    texts = []
    if any(tensor.dtype == "uint8" for tensor in model.tensors):
        texts.append("TFLite Micro cannot run it: its kernels compute in int8, and this model is uint8.")
    if why := reference.refused(model):
        texts.append(f"TFLite Micro has the softmax of LiteRT's reference kernels, which {why.why}.")
    if needed.missing:
        texts.append(f"TFLite Micro ({AS_OF}) cannot run it: it has no {', '.join(needed.missing)}.")
    return tuple(texts)


def _has_all_operators(needed: Resolver) -> Gate:
    got = f"no {', '.join(needed.missing)}" if needed.missing else f"all {len(needed.adders)}"
    return Gate("TFLite Micro's operators", f"all that the model has, as of {AS_OF}", got, passed=not needed.missing)


def _guarded(guard: str, includes: Iterable[str], body: str) -> str:
    lines = "".join(f"#include <{name}>\n" for name in includes)
    return f"#ifndef {guard}_\n#define {guard}_\n\n{lines}\n{body}\n#endif  // {guard}_\n"


def _data_header(names: Mapping[str, str], warnings: Iterable[str]) -> str:
    notes = "".join(f"// {line}\n" for line in warnings)
    body = (
        f'{notes}#ifdef __cplusplus\nextern "C" {{\n#endif\n\n'
        f"extern const unsigned char {names['array']}[];\n"
        f"extern const unsigned int {names['array']}_size;\n\n"
        "#ifdef __cplusplus\n}\n#endif\n"
    )
    return _guarded(f"{names['PREFIX']}MODEL_DATA_H", (), body)


def _data_source(names: Mapping[str, str], data: bytes, alignment_bytes: int) -> str:
    rows = ",\n    ".join(
        ", ".join(f"0x{byte:02x}" for byte in data[start : start + _ROW]) for start in range(0, len(data), _ROW)
    )
    return f"""\
#include "model_data.h"

#if defined(__cplusplus)
#define ALIGNED alignas({alignment_bytes})
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define ALIGNED _Alignas({alignment_bytes})
#else
#define ALIGNED __attribute__((aligned({alignment_bytes})))
#endif

ALIGNED const unsigned char {names["array"]}[] = {{
    {rows}}};

const unsigned int {names["array"]}_size = {len(data)};
"""


def _io_header(names: Mapping[str, str], needed: Resolver, image: inspect.Tensor, result: inspect.Tensor) -> str:
    lines = ["// INPUT, OUTPUT: real = (integer - ZERO_POINT) * SCALE"]
    for end, tensor in (("INPUT", image), ("OUTPUT", result)):
        shape, prefix = (1, *tensor.shape[1:]), f"#define {names['PREFIX']}{end}_"
        lines += [
            f"{prefix}TYPE {tensor.dtype}_t",
            f"{prefix}DIMENSIONS {len(shape)}",
            f"{prefix}SHAPE {{{', '.join(map(str, shape))}}}",
            f"{prefix}SIZE {int(np.prod(shape))}",
            f"{prefix}SCALE {_c_float(tensor.scales[0])}",
            f"{prefix}ZERO_POINT ({tensor.zero_points[0]})",
        ]
    lines += [
        "",
        f"// For a tflite::MicroMutableOpResolver<{len(needed.adders)}>:",
        *(f"//   resolver.{adder}();" for adder in needed.adders),
        *(f"// TFLite Micro ({AS_OF}) has no {name}." for name in needed.missing),
    ]
    return _guarded(f"{names['PREFIX']}MODEL_IO_H", ("stdint.h",), "\n".join(lines) + "\n")


def _c_float(value: float) -> str:
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _vectors(
    names: Mapping[str, str], ends: tuple[inspect.Tensor, inspect.Tensor], subject: Subject, count: int
) -> str:
    image, result = ends
    inputs, expected = subject.integer_images[:count], subject.samples.reference[:count]
    prefix, tables = names["prefix"], []
    for name, dtype, rows in (("inputs", image.dtype, inputs), ("outputs", result.dtype, expected)):
        flat = rows.reshape(count, -1)
        body = ",\n".join(f"    {{{text}}}" for text in _tables(flat))
        tables.append(f"static const {dtype}_t {prefix}test_{name}[{count}][{flat.shape[1]}] = {{\n{body}}};\n")
    classes = ", ".join(str(int(each)) for each in subject.samples.labels[:count])
    body = (
        f"// Test images as the model takes them, and the outputs of LiteRT's {subject.samples.kernels_in_words}.\n"
        f"#define {names['PREFIX']}TEST_COUNT {count}\n\n" + "\n".join(tables) + "\n// The images' true classes.\n"
        f"static const int {prefix}test_classes[{count}] = {{{classes}}};\n"
    )
    used = "".join(f"  (void){prefix}test_{name};\n" for name in ("inputs", "outputs", "classes"))
    body += f"\nstatic inline void {prefix}test_vectors_used(void) {{\n{used}}}\n"
    return _guarded(f"{names['PREFIX']}TEST_VECTORS_H", ("stdint.h",), body)


def _tables(flat: NDArray[Any]) -> Iterator[str]:
    for row in flat:
        values = [str(int(value)) for value in row]
        yield ",\n     ".join(", ".join(values[start : start + _ROW]) for start in range(0, len(values), _ROW))


def _round_trip(compiler: Path, language: str, names: Mapping[str, str], out: Path, work: Path) -> bytes:
    """Compile and run a program with the artifacts; return the bytes that it writes."""
    kind, standard = ("c", "c99") if language == "C99" else ("c++", "c++17")
    main, program = work / f"main_{kind[-1]}.txt", work / f"round_trip_{standard}"
    main.write_text(_ROUND_TRIP.format(**names), encoding="utf-8")
    sources = [out / "model_data.cc", main]
    command = [compiler, f"-std={standard}", *_STRICT, "-I", out, "-x", kind, *sources, "-o", program]
    tools.called(command, f"The C arrays do not compile as {language}.")
    return tools.output(program)


def _same_bytes(language: str, data: bytes, back: bytes) -> Gate:
    got = f"{len(data):,} bytes" if back == data else f"{len(back):,} bytes, which differ"
    return Gate(f"{language} round trip", f"{len(data):,} bytes", got, passed=back == data)
