"""The 8-bit graph in a C or C++ program, with the TensorFlow library of the pip package.

`frozen_graph.pb`, `run_graph.c` that loads and runs it through the C API, and `build.sh` that compiles it. The check
runs that script, and the program on test images: its outputs are Python's.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import DeployError
from qatbuild.exchange.facts import Gate
from qatbuild.worker import graph_def
from qatbuild.worker.deploy import Outcome, Subject, graphs, tools

_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")

_BUILD = """\
#!/bin/sh
# Compiles run_graph.c against the TensorFlow of python3, or of $PYTHON, with cc or $CC, to run_graph or $1. Then, where
# IMAGES holds bytes [n, height, width, channels] and OUTPUTS is written, floats [n, classes]:
#   ./run_graph {call} IMAGES OUTPUTS
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
    """Write graph, program and build.sh. Gate: the program's outputs equal Python's, up to `tolerance`."""
    assert subject.graphs is not None
    _check_library()
    graph = out / "frozen_graph.pb"
    graph.write_bytes(subject.graphs.frozen.read_bytes())
    (out / "run_graph.c").write_bytes(subject.sources["program"].read_bytes())
    images, scaling = subject.samples.images, subject.samples.scaling
    classes = subject.samples.reference.shape[1]
    sizes = (*images.shape[1:], classes, float(scaling.zero_point), scaling.std_dev)
    arguments = [subject.graphs.input, subject.graphs.output, *map(str, sizes)]
    script = out / "build.sh"
    script.write_text(_BUILD.format(call=shlex.join([graph.name, *arguments])), encoding="utf-8")
    script.chmod(0o755)
    compiler = tools.program("cc", "gcc", "clang", route="tf_cpp", debian="gcc")
    program = subject.work / "run_graph"
    command = ["env", f"PYTHON={sys.executable}", f"CC={compiler}", "sh", script, program]
    tools.called(command, "The C program does not compile.")
    inputs, outputs = subject.work / "images.bin", subject.work / "outputs.bin"
    inputs.write_bytes(np.ascontiguousarray(images).tobytes())
    printed = tools.called([program, graph, *arguments, inputs, outputs], "The C program cannot run the graph.")
    answers = np.fromfile(outputs, np.float32).reshape(-1, classes)
    differs = float(np.abs(answers.astype(np.float64) - graphs.run(graph_def.read(graph), subject)).max())
    wanted = f"probabilities that differ by at most {options['tolerance']:g}"
    version = tools.called([compiler, "--version"], "The compiler cannot be run.").splitlines()[0]
    return Outcome(
        artifact=graph.name,
        versions={"libtensorflow_cc": printed.splitlines()[-1], "compiler": version},
        answers={graph.name: answers},
        gates=(Gate("equal to Python", wanted, f"{differs:.3g}", passed=differs <= options["tolerance"]),),
        notes=("the outputs are Python's" if not differs else f"up to {differs:.3g} from Python's",),
        figures={"largest_difference": differs},
    )


def _check_library() -> None:
    """Raise DeployError if the installed TensorFlow has no library for C programs."""
    home = Path(tf.__file__).parent
    missing = [name for name in _LIBRARIES if not (home / name).is_file()]
    if missing:
        facts = [("folder", str(home)), ("missing", ", ".join(missing))]
        hint = "on Linux the pip packages tensorflow and tensorflow-cpu contain it"
        raise DeployError("The installed TensorFlow has no library for C programs.", facts, hint)
