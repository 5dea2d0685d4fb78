"""The promise of the check: what it lets pass converts, fully integer, to what the fake-quantized graph computes."""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import QatbuildError
from qatbuild.exchange.facts import FreezeFacts
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker import graph_def
from qatbuild.worker.stages.measuring import FILES
from qatbuild.worker.tflite import inspect, layers
from qatbuild.worker.tflite.pairing import IndexedGraph
from qatbuild.worker.training.session import session
from tests.tflite.running import int8
from tests.training import chain
from tests.training.applications import as_floats
from tests.training.project import Project

SHAPE = (10, 12, 3)
MOST_LSB = 1.05
"""The largest difference of an operator from the graph on the same inputs, in steps of its output."""


def seeds(count: int) -> list[int]:
    """The first seeds; those from A to B with the environment variable QATBUILD_SEEDS=A-B."""
    first, _, last = os.environ.get("QATBUILD_SEEDS", f"0-{count - 1}").partition("-")
    return list(range(int(first), int(last or first) + 1))


def asked(seed: int) -> dict[str, Any]:
    """The setting "quantize" of a seed: a quantization-aware training, which takes longer, for one of six."""
    scheme = random.Random(seed).choice(["uint8", "int8", "int8_per_channel", "int8_per_channel"])
    return {"scheme": scheme, **(chain.PTQ if seed % 6 else chain.QAT)}


def kept(folder: Path, network: Callable[..., object], seed: int, layers_of: Callable[[], set[str]]) -> str:
    """Try a network: return the error of its check, or of its weights; "" if it was built as promised.

    AssertionError or QatbuildError if it was not, or if the check's error does not name a layer of the network.
    """
    model = {"call": f"{network.__module__}:{network.__name__}", "options": {"seed": seed}}
    project = chain.project(folder, SHAPE, model)
    refused = _refused(project, seed)
    if refused is not None:
        names = set(map(_unnumbered, layers_of()))
        assert all(_unnumbered(label.partition("/")[0]) in names for label, _ in refused.facts), refused.block()
        return refused.block()
    try:
        made = chain.converted(project)
    except QatbuildError as fault:
        # Random weights may leave a layer nothing but zeros: an error of the weights, which the check does not see.
        if "all values in the range are 0" in fault.block() or "no range after the training" in fault.block():
            return fault.block()
        raise
    worst = _worst_operator(project, made.file("model.tflite"))
    assert worst["max_lsb"]["same_inputs"] <= MOST_LSB, f"{asked(seed)}: {layers.described(worst)}"
    return ""


def _refused(project: Project, seed: int) -> QatbuildError | None:
    try:
        chain.check_network(project, **asked(seed))
    except QatbuildError as refused:
        return refused
    return None


def _unnumbered(name: str) -> str:
    """The name without its number: those of Keras' operators go on from one model to the next."""
    return re.sub(r"_\d+$", "", name)


def _worst_operator(project: Project, tflite: Path) -> dict[str, Any]:
    """The row of the operator of a .tflite that differs most from the frozen graph, given the same inputs."""
    frozen = project.request("evaluate", "freeze").inputs["freeze"].manifest
    images = np.random.default_rng(3).integers(0, 256, [4, *SHAPE], np.uint8)
    scaling = Scaling.of(project.settings["inputs"]["images"])
    sample = {"images": images if project.settings["quantize"]["scheme"] == "uint8" else int8(images)}
    sources = FreezeFacts.of(frozen.facts).inputs
    graphs = {form: IndexedGraph(graph_def.read(frozen.file(name))) for form, name in FILES.items()}
    with contextlib.ExitStack() as sessions:

        def opened(graph: tf.Graph) -> layers.Run:
            return sessions.enter_context(session(graph, 1, as_written=True)).run

        feeds = {f"{sources['images']}:0": as_floats(images, scaling)}
        ends = ["images"], ["labels"]
        file = inspect.read(tflite)
        measured = layers.measure(tflite, ends, sample, feeds, graphs, model=file, inputs=sources, opened=opened)
    return max(measured.rows, key=lambda row: row["max_lsb"]["same_inputs"] or 0)
