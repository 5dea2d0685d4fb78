"""The files of a training, read back: checkpoints, events, frozen graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.facts import FreezeFacts
from qatbuild.exchange.manifest import Manifest

CHECKPOINT_FILES = (".index", ".data-00000-of-00001")


def tensors(prefix: Path) -> dict[str, bytes]:
    """The bytes of every tensor of a checkpoint."""
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name).tobytes() for name in reader.get_variable_to_shape_map()}


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every tag in a folder's event files, as TensorBoard would show them."""
    rows: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.glob("*tfevents*"), key=lambda path: path.stat().st_mtime_ns):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            if event.session_log.status == event.session_log.START:
                rows = {tag: [row for row in former if row[0] < event.step] for tag, former in rows.items()}
            for value in event.summary.value:
                rows.setdefault(value.tag, []).append((event.step, value.simple_value))
    return rows


def frozen_scores(frozen: Manifest, reals: NDArray[np.float32]) -> NDArray[Any]:
    """What the fake-quantized frozen graph with one input and one output gives for real values."""
    facts = FreezeFacts.of(frozen.facts)
    (source,), (end,) = facts.inputs.values(), facts.outputs.values()
    definition = tf.compat.v1.GraphDef.FromString(frozen.file("frozen_graph.pb").read_bytes())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(definition, name="")
        values: NDArray[Any] = session.run(f"{end}:0", {f"{source}:0": reals})
    return values
