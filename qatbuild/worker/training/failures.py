"""What TensorFlow reports when an operation of the user's code fails, as an error that names the code's line."""

from __future__ import annotations

import contextlib
import linecache
import re
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from qatbuild.exchange.errors import StageError

_OTHERS = (Path(__file__).parents[2], *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")))


@contextlib.contextmanager
def located() -> Iterator[None]:
    """Runs a graph; StageError if values do not fit an operation that a line of the user's code has added.

    The same fault of an operation of qatbuild's is a bug, and keeps its traceback.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as fault:
        frame = _users(fault.op.traceback) if fault.op is not None else None
        if frame is None:
            raise
        facts = [
            ("operation", fault.op.name),
            ("at", f"{Path(frame.filename).name}:{frame.lineno}: {_line(frame)}"),
            ("reason", _reason(fault.message)),
        ]
        raise StageError("An operation of the network or of its loss failed.", facts) from fault


def _users(frames: traceback.StackSummary) -> traceback.FrameSummary | None:
    """Returns the last line of code that is not qatbuild's, an installed package's, or Python's."""
    users = [frame for frame in frames if _is_users(Path(frame.filename))]
    return users[-1] if users else None


def _line(frame: traceback.FrameSummary) -> str:
    return linecache.getline(frame.filename, frame.lineno or 0).strip()  # The frame of an operation has no text.


def _reason(message: str) -> str:
    """Returns the sentence before the node's name, which comes after the whole traceback of the node."""
    match = re.search(r"^(.+)\n\s*\[\[\{\{node", message, re.MULTILINE)
    return match[1].strip() if match else message.partition("\n")[0]


def _is_users(file: Path) -> bool:
    return file.is_file() and not any(file.is_relative_to(folder) for folder in _OTHERS)
