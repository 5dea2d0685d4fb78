"""The .tflite as C arrays, in the style of TFLite Micro, compiled and read back.

`model_data.cc` and `.h` hold the file, `model_io.h` the types, shapes and scales of inputs and outputs, functions that
convert real values, and the operators for TFLite Micro's resolver, `test_vectors.h` a few test examples and the outputs
of LiteRT's reference kernels for them. All of it is C99 as well as C++17: rename the .cc to .c.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.exchange.facts import Gate
from qatbuild.worker.deploy import Outcome, Subject, c_array_io, tools
from qatbuild.worker.deploy.c_array_io import Names, guarded
from qatbuild.worker.deploy.c_array_operators import AS_OF, Resolver, resolver
from qatbuild.worker.tflite import inspect, reference

_ROW = 16
_LANGUAGES = {"C99": ("cc", "gcc", "clang"), "C++17": ("c++", "g++", "clang++")}
_STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")

_ROUND_TRIP = """\
#include <stdio.h>
#include "model_data.h"
#include "model_io.h"
#include "test_vectors.h"

int main(void) {{
{sizes}  if (fwrite({array}, 1, {array}_size, stdout) != {array}_size) return 1;
{conversions}  return 0;
}}
"""
_SIZE = "  if (sizeof({prefix}test_{array}[0]) != {macro}_SIZE * sizeof({prefix}test_{array}[0][0])) return 2;\n"
_CONVERSION = """\
  for (int i = 0; i < {PREFIX}TEST_COUNT * {macro}_SIZE; ++i) {{
    const {type} made = {prefix}{function}({prefix}test_{array}[i / {macro}_SIZE][i % {macro}_SIZE]);
    if (fwrite(&made, sizeof made, 1, stdout) != 1) return 1;
  }}
"""


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Writes the four files. Gates: they compile without a warning, as C99 and as C++17, and hold the same bytes.

    The functions that convert real values must give what the evaluation computed. With the runtime tflm, TFLite Micro
    must have all of the model's operators.
    """
    model = inspect.read(subject.tflite)
    needed = resolver(operator.name for operator in model.operators)
    data, names = subject.tflite.read_bytes(), c_array_io.names(options["name"], subject)
    count = min(options["vectors"], subject.samples.number)
    warnings = _warnings(model, needed)
    for file, text in {
        "model_data.h": _data_header(names, warnings),
        "model_data.cc": _data_source(names, data, options["alignment_bytes"]),
        "model_io.h": c_array_io.io_header(names, needed),
        "test_vectors.h": c_array_io.vectors(names, subject, count),
    }.items():
        (out / file).write_text(text, encoding="utf-8")
    versions: dict[str, str] = {}
    gates = [_has_all_operators(needed)] if options["runtime"] == "tflm" else []
    converted = _converted(names, subject, count)
    for language, compilers in _LANGUAGES.items():
        compiler = tools.program(*compilers, route="c_array", debian="gcc g++")
        versions[language] = tools.called([compiler, "--version"], "The compiler cannot be run.").splitlines()[0]
        written = _round_trip(compiler, language, names, out, subject.work)
        back = written[: len(written) - len(converted)]
        gates.append(_same_bytes(language, data, back))
        if converted:
            gates.append(_same_values(language, converted, written[len(back) :]))
    rerun = subject.work / "round_trip.tflite"
    rerun.write_bytes(back)
    return Outcome(
        artifact="model_data.cc",
        versions=versions,
        answers={"model_data.cc": subject.real(subject.run(rerun))},
        gates=tuple(gates),
        figures={
            "array": names.array,
            "model_bytes": len(data),
            "vectors": count,
            "operators": list(needed.adders),
            "missing_operators": list(needed.missing),
        },
        notes=(f"{len(data):,} bytes in flash", f"{len(needed.adders)} operators", f"{count} test vectors"),
        warnings=warnings,
    )


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


def _data_header(names: Names, warnings: Iterable[str]) -> str:
    notes = "".join(f"// {line}\n" for line in warnings)
    body = (
        f'{notes}#ifdef __cplusplus\nextern "C" {{\n#endif\n\n'
        f"extern const unsigned char {names.array}[];\n"
        f"extern const unsigned int {names.array}_size;\n\n"
        "#ifdef __cplusplus\n}\n#endif\n"
    )
    return guarded(f"{names.macro}MODEL_DATA_H", (), body)


def _data_source(names: Names, data: bytes, alignment_bytes: int) -> str:
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

ALIGNED const unsigned char {names.array}[] = {{
    {rows}}};

const unsigned int {names.array}_size = {len(data)};
"""


def _round_trip(compiler: Path, language: str, names: Names, out: Path, work: Path) -> bytes:
    """Compiles and runs a program with the artifacts; returns the bytes that it writes."""
    kind, standard = ("c", "c99") if language == "C99" else ("c++", "c++17")
    main, program = work / f"main_{kind[-1]}.txt", work / f"round_trip_{standard}"
    main.write_text(_program(names), encoding="utf-8")
    sources = [out / "model_data.cc", main]
    command = [compiler, f"-std={standard}", *_STRICT, "-I", out, "-x", kind, *sources, "-o", program]
    tools.called(command, f"The C arrays do not compile as {language}.")
    return tools.output(program)


def _program(names: Names) -> str:
    """Returns a program that writes the model's bytes, then the test vectors as the functions convert them."""
    ends = (*names.inputs, *names.outputs)
    sizes = "".join(_SIZE.format(prefix=names.prefix, array=each.array, macro=each.macro) for each in ends)
    calls = [(each, "quantize", f"real_{each.array}", f"{each.tensor.dtype}_t") for each in names.quantized]
    calls += [(each, "dequantize", each.array, "float") for each in names.dequantized]
    conversions = "".join(
        _CONVERSION.format(
            PREFIX=names.macro,
            macro=each.macro,
            type=kind,
            prefix=names.prefix,
            function=f"{verb}_{each.name}",
            array=array,
        )
        for each, verb, array, kind in calls
    )
    return _ROUND_TRIP.format(sizes=sizes, array=names.array, conversions=conversions)


def _converted(names: Names, subject: Subject, count: int) -> bytes:
    """Returns what the functions must make of the test vectors."""
    integers = [subject.samples.integers[each.key][:count].tobytes() for each in names.quantized]
    reals = subject.reference
    return b"".join([*integers, *(reals[each.key][:count].astype(np.float32).tobytes() for each in names.dequantized)])


def _same_bytes(language: str, data: bytes, back: bytes) -> Gate:
    got = f"{len(data):,} bytes" if back == data else f"{len(back):,} bytes, which differ"
    return Gate(f"{language} round trip", f"{len(data):,} bytes", got, passed=back == data)


def _same_values(language: str, expected: bytes, values: bytes) -> Gate:
    got = "those" if values == expected else "others"
    return Gate(f"{language} conversions", "the integers and real values of LiteRT", got, passed=values == expected)
