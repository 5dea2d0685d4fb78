"""A progress bar that writes its state as lines (exchange/activity.py) instead of drawing: the build draws it."""

from __future__ import annotations

import functools
import os
from typing import Any, TextIO

from tqdm import tqdm

from qatbuild.exchange.activity import Activity

_EVERY_S = 0.2
_MOST_BYTES = 1 << 20
"""Size at which the file of lines begins anew: a training of a week must not fill the disk."""


class TypedBar(tqdm):
    """tqdm, with lines in place of its display."""

    loss: float | None = None

    def __init__(self, iterable: Any = None, *, lines: TextIO, **arguments: Any) -> None:
        """Begins; `arguments` are those of tqdm."""
        self.lines = lines
        super().__init__(iterable, file=_nowhere(), mininterval=_EVERY_S, leave=False, **arguments)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002
        """Called by tqdm: write the state."""
        state = self.format_dict
        title, unit = self.desc.removesuffix(": "), str(state["unit"])
        total = None if self.total is None else int(self.total)
        activity = Activity(title, unit, int(self.n), total, state["elapsed"], state["rate"], self.loss)
        if os.fstat(self.lines.fileno()).st_size > _MOST_BYTES:
            os.ftruncate(self.lines.fileno(), 0)
        self.lines.write(activity.to_line())
        self.lines.flush()

    def set_postfix(self, ordered_dict: Any = None, refresh: Any = True, **named: Any) -> None:  # noqa: ARG002, FBT002
        """Takes the loss; nothing else is shown."""
        self.loss = float(named["loss"])
        if refresh:
            self.refresh()


@functools.cache
def _nowhere() -> TextIO:
    """Returns the stream for what tqdm itself would draw."""
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
