"""The curve of a training: its loss and learning rate at no more than 200 steps, however long it is."""

from __future__ import annotations

from dataclasses import dataclass, field

_MOST_POINTS = 200


@dataclass
class Curve:
    """Points (step, mean loss of the steps since the previous point, learning rate of the step), steps from 1.

    `total` and `count` are the sum and number of losses since the last point. All of it is in the saved state, so that
    a training that goes on after a kill has the curve of one that was not killed.
    """

    points: list[list[float]] = field(default_factory=list)
    total: float = 0.0
    count: int = 0

    def add(self, step: int, steps: int, loss: float, learning_rate: float) -> None:
        """Adds a step (from 1) of a training of `steps` steps."""
        self.total += loss
        self.count += 1
        if step % -(-steps // _MOST_POINTS) == 0 or step == steps:
            self.points.append([step, self.total / self.count, learning_rate])
            self.total, self.count = 0.0, 0
