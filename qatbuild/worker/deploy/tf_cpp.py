"""The 8-bit graph in a C or C++ program, with the TensorFlow library of the pip package.

`frozen_graph.pb`, `run_graph.c` that loads and runs it through the C API, and `build.sh` that compiles it. The check
runs that script, and the program on test examples: its outputs are Python's.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.errors import DeployError
from qatbuild.exchange.facts import Gate
from qatbuild.exchange.scaling import RealInput
from qatbuild.worker import graph_def
from qatbuild.worker.deploy import Outcome, Subject, graphs, tools

_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")

_BUILD = """\
#!/bin/sh
# Compiles run_graph.c against the TensorFlow of python3, or of $PYTHON, with cc or $CC, to run_graph or $1. Then, where
# {files}:
#   ./run_graph {call}
set -e
HERE=$(cd "$(dirname "$0")" && pwd)
TF=$("${{PYTHON:-python3}}" -c 'from importlib.util import find_spec as find
found = find("tensorflow")
print(found.submodule_search_locations[0] if found else "")')
test -n "$TF" || {{ echo "${{PYTHON:-python3}} has no tensorflow: PYTHON=.../bin/python sh build.sh" >&2; exit 1; }}
"${{CC:-cc}}" -std=c99 -O1 "$HERE/run_graph.c" -I"$TF/include" \\
  "$TF/libtensorflow_cc.so.2" "$TF/libtensorflow_framework.so.2" -Wl,-rpath,"$TF" -o "${{1:-$HERE/run_graph}}"
"""


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Writes graph, program and build.sh. Gate: the program's outputs equal Python's, up to `tolerance`."""
    assert subject.graphs is not None
    _check_library()
    graph = out / "frozen_graph.pb"
    graph.write_bytes(subject.graphs.frozen.read_bytes())
    (out / "run_graph.c").write_bytes(subject.sources["program"].read_bytes())
    script = out / "build.sh"
    call = shlex.join([graph.name, *_ends(subject, _in_words)])
    script.write_text(_BUILD.format(call=call, files=_files(subject)), encoding="utf-8")
    script.chmod(0o755)
    compiler = tools.program("cc", "gcc", "clang", route="tf_cpp", debian="gcc")
    program = subject.work / "run_graph"
    command = ["env", f"PYTHON={sys.executable}", f"CC={compiler}", "sh", script, program]
    tools.called(command, "The C program does not compile.")
    for name, values in subject.samples.raw.items():
        (subject.work / _file("input", name)).write_bytes(np.ascontiguousarray(values).tobytes())
    ends = _ends(subject, lambda side, name: str(subject.work / _file(side, name)))
    printed = tools.called([program, graph, *ends], "The C program cannot run the graph.")
    python = graphs.run(graph_def.read(graph), subject)
    answers = {
        name: np.fromfile(subject.work / _file("output", name), each.dtype).reshape(each.shape)
        for name, each in python.items()
    }
    differs = max(_difference(answers[name], each) for name, each in python.items())
    what = "probabilities" if subject.lone_classes else "outputs"
    wanted = f"{what} that differ by at most {options['tolerance']:g}"
    version = tools.called([compiler, "--version"], "The compiler cannot be run.").splitlines()[0]
    return Outcome(
        artifact=graph.name,
        versions={"libtensorflow_cc": printed.splitlines()[-1], "compiler": version},
        answers={graph.name: answers},
        gates=(Gate("equal to Python", wanted, f"{differs:.3g}", passed=differs <= options["tolerance"]),),
        notes=("the outputs are Python's" if not differs else f"up to {differs:.3g} from Python's",),
        figures={"largest_difference": differs},
    )


def _ends(subject: Subject, file: Callable[[str, str], str]) -> list[str]:
    """Returns the program's arguments for inputs and outputs; `file` makes a path of "input" or "output" and a name."""
    assert subject.graphs is not None
    arguments = []
    for name, each in subject.inputs.items():
        arguments += ["-r" if isinstance(each.scaling, RealInput) else "-b", subject.graphs.inputs[name]]
        arguments.append("x".join(map(str, each.shape)))
        if not isinstance(each.scaling, RealInput):
            arguments += [str(float(each.scaling.zero_point)), str(each.scaling.std_dev)]
        arguments.append(file("input", name))
    for name, operation in subject.graphs.outputs.items():
        arguments += ["-o", operation, file("output", name)]
    return arguments


def _files(subject: Subject) -> str:
    """Says in words what the files of the call are."""
    takes = [
        f"{_in_words('input', name)} holds {'bytes' if each.dtype == 'uint8' else 'floats'} {_shape(each.shape)}"
        for name, each in subject.inputs.items()
    ]
    kinds = {name: "int32" if each.dtype == "int32" else "floats" for name, each in subject.gives.items()}
    gives = [
        f"{_in_words('output', name)} is written, {kinds[name]} {_shape(each.shape[1:])}"
        for name, each in subject.gives.items()
    ]
    return ",\n# ".join(takes + gives)


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(['n', *map(str, shape)])}]"


def _in_words(side: str, name: str) -> str:
    """Returns what stands for a file in the call: INPUT_IMAGES."""
    return _file(side, name).removesuffix(".bin").upper()


def _file(side: str, name: str) -> str:
    return f"{side}_{name.replace('/', '_')}.bin"


def _difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Returns the largest difference, as a part of the largest value where that is greater than 1."""
    largest = max(1.0, float(np.abs(theirs).max(initial=0)))
    return float(np.abs(ours.astype(np.float64) - theirs).max(initial=0)) / largest


def _check_library() -> None:
    """Raises DeployError if the installed TensorFlow has no library for C programs."""
    home = Path(tf.__file__).parent
    missing = [name for name in _LIBRARIES if not (home / name).is_file()]
    if missing:
        facts = [("folder", str(home)), ("missing", ", ".join(missing))]
        hint = "on Linux the pip packages tensorflow and tensorflow-cpu contain it"
        raise DeployError("The installed TensorFlow has no library for C programs.", facts, hint)
