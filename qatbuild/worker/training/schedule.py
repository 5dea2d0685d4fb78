"""Learning rates as formulas of the step, computed in Python, so that no state is saved."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qatbuild.exchange.errors import StageError


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every step.

    With s the steps done so far (0 in the first step), W = warm_up_steps, and t = s - W:

        warm-up      s < W: initial * (s + 1) / W                         Goyal et al. 2017, arXiv:1706.02677, 2.2
        constant     initial
        step         values[i] from s = boundaries[i] on, initial before the first
        exponential  max(final, initial * decay_rate ^ (t / decay_steps))
        cosine       final + (initial - final) * (1 + cos(pi * min(t, D) / D)) / 2, where D = decay_steps,
                     or all steps after the warm-up: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5
    """

    schedule: str
    initial: float
    final: float = 0.0
    decay_steps: int | None = None
    decay_rate: float | None = None
    boundaries: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    warm_up_steps: int = 0

    def __post_init__(self) -> None:
        facts = [("schedule", self.schedule)]
        if self.schedule not in ("constant", "step", "exponential", "cosine"):
            raise StageError("The learning-rate schedule does not exist.", facts)
        if self.schedule == "exponential" and not (self.decay_steps and self.decay_rate):
            raise StageError("The learning-rate schedule lacks decay_steps or decay_rate.", facts)
        if self.schedule == "step" and len(self.values) != len(self.boundaries):
            rows = [("boundaries", list(self.boundaries)), ("values", list(self.values))]
            raise StageError("The learning-rate schedule needs one value for each boundary.", [*facts, *rows])

    def rate(self, step: int, steps: int) -> float:
        """Returns the learning rate of the step after `step` completed ones, in a training of `steps` steps."""
        if step < self.warm_up_steps:
            return self.initial * (step + 1) / self.warm_up_steps
        since = step - self.warm_up_steps
        if self.schedule == "step":
            return (self.initial, *self.values)[sum(step >= boundary for boundary in self.boundaries)]
        if self.schedule == "exponential":
            return max(self.final, self.initial * (self.decay_rate or 1.0) ** (since / (self.decay_steps or 1)))
        if self.schedule == "cosine":
            length = max(self.decay_steps or steps - self.warm_up_steps, 1)
            return self.final + (self.initial - self.final) * (1 + math.cos(math.pi * min(since, length) / length)) / 2
        return self.initial
