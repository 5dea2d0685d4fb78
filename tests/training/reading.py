"""The files of a training, read back: checkpoints and events."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

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
