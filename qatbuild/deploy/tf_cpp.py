"""The 8-bit graph in a C or C++ program: TensorFlow's own library, from the package that pip installed.

`frozen_graph.pb`, `run_graph.c` that loads and runs it through the C API, and `build.sh` that compiles it. The check
compiles it and runs it on test images: its outputs are Python's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.deploy import Outcome, Subject, graphs, needs
from qatbuild.errors import DeployError

_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")

_BUILD = """\
#!/bin/sh
# Compiles run_graph.c against the TensorFlow of this machine's python3 (or of $PYTHON).
set -e
TF=$("${PYTHON:-python3}" -c 'import tensorflow, os; print(os.path.dirname(tensorflow.__file__))')
"${CC:-cc}" -std=c99 -O1 run_graph.c -I"$TF/include" "$TF/libtensorflow_cc.so.2" "$TF/libtensorflow_framework.so.2" \\
  -Wl,-rpath,"$TF" -o run_graph
"""


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Write graph, program and build.sh; the gate: the program's outputs are Python's, up to `tolerance`."""
    assert subject.frozen_graph is not None
    home = Path(tf.__file__).parent
    missing = [name for name in _LIBRARIES if not (home / name).is_file()]
    if missing:
        facts = [("folder", home), ("missing", ", ".join(missing))]
        hint = "on Linux the packages tensorflow and tensorflow-cpu of pip have them"
        raise DeployError("The installed TensorFlow has no library for C programs.", facts, hint)
    graph = out / "frozen_graph.pb"
    graph.write_bytes(subject.frozen_graph.read_bytes())
    (out / "run_graph.c").write_bytes(subject.sources["program"].read_bytes())
    (out / "build.sh").write_text(_BUILD, encoding="utf-8")
    compiler = needs.program("cc", "gcc", "clang", route="tf_cpp", debian="gcc")
    program = subject.work / "run_graph"
    libraries = [home / name for name in _LIBRARIES]
    command = [compiler, "-std=c99", "-O1", out / "run_graph.c", "-I", home / "include", *libraries]
    needs.called([*command, f"-Wl,-rpath,{home}", "-o", program], "The C program does not compile.")
    images, outputs = subject.work / "images.bin", subject.work / "outputs.bin"
    images.write_bytes(np.ascontiguousarray(subject.images).tobytes())
    classes = subject.reference.shape[1]
    numbers = (*subject.images.shape[1:], classes, subject.mean, subject.std_dev)
    printed = needs.called(
        [program, graph, subject.graph_input, subject.graph_output, *map(str, numbers), images, outputs],
        "The C program cannot run the graph.",
    )
    answers = np.fromfile(outputs, np.float32).reshape(-1, classes)
    python = graphs.run(graphs.read(graph), subject.graph_input, subject.graph_output, subject.real_images)
    differs = float(np.abs(answers.astype(np.float64) - python).max())
    gate = {
        "name": "equal to Python",
        "wanted": f"probabilities that differ by at most {options['tolerance']:g}",
        "got": f"{differs:.3g}",
        "passed": differs <= options["tolerance"],
    }
    version = needs.called([compiler, "--version"], "The compiler does not run.").splitlines()[0]
    return Outcome(
        artifact=graph.name,
        versions={"libtensorflow_cc": printed.splitlines()[-1], "compiler": version},
        answers={graph.name: answers},
        gates=(gate,),
        notes=("the outputs are Python's" if not differs else f"up to {differs:.3g} from Python's",),
        figures={"largest_difference": differs},
    )
