"""TensorBoard event files: scalars by step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import tensorflow as tf

v1 = tf.compat.v1


class Events:
    """Scalars by step in a folder's event files; a context manager.

    A training that continues from step s opens a second file, and makes TensorBoard drop later steps of the first
    file: they were lost with the killed process.
    """

    def __init__(self, folder: Path, step: int) -> None:
        """Opens event files in `folder`, for a training that has completed `step` steps."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._step = step

    def __enter__(self) -> Self:
        with tf.Graph().as_default():
            # TensorFlow names a file by the second: a training resumed at once would overwrite the first file.
            self._writer = v1.summary.FileWriter(str(self._folder), filename_suffix=f".from-{self._step}")
        start = v1.SessionLog(status=v1.SessionLog.START)
        self._writer.add_session_log(start, global_step=self._step + 1)
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._writer.close()

    def scalars(self, step: int, named: Mapping[str, float]) -> None:
        """Writes numbers by tag, all of one step (counted from 1)."""
        values = [v1.Summary.Value(tag=tag, simple_value=number) for tag, number in named.items()]
        self._writer.add_summary(v1.Summary(value=values), step)

    def flush(self) -> None:
        """Flushes everything written, so that readers see it."""
        self._writer.flush()
