"""The training loop: step, check and log the loss, save, validate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.worker import console
from qatbuild.worker.training import checkpoint, log
from qatbuild.worker.training.batches import Batch
from qatbuild.worker.training.events import Events
from qatbuild.worker.training.failures import located
from qatbuild.worker.training.graph import Training
from qatbuild.worker.training.interrupt import Interrupt
from qatbuild.worker.training.precision import FLOAT32
from qatbuild.worker.training.prefetch import Prefetch
from qatbuild.worker.training.resume import Progress, Resume
from qatbuild.worker.training.schedule import Schedule
from qatbuild.worker.training.session import session

v1 = tf.compat.v1

Measure = Callable[[Path], Mapping[str, float]]


@dataclass(frozen=True)
class Course:
    """Length, learning rate and number format of a training, and the intervals of saving and logging; in steps."""

    steps: int
    learning_rate: Schedule
    checkpoint_every: int
    log_every: int
    precision: str = FLOAT32


def train(
    target: Training,
    batches: Callable[[int], Batch],
    course: Course,
    *,
    title: str,
    out: Path,
    state: Path,
    threads: int,
    start_from: Path | None = None,
    measure: Measure | None = None,
    better: Mapping[str, str] | None = None,
) -> Progress:
    """Trains, and publishes checkpoints in `out` and event files in `out`/events; returns the progress.

    While it runs, both are in `state`; TensorBoard can be pointed there.

    `batches` returns the examples of a step. The network's own variables begin with the values of the checkpoint
    `start_from` (a path without suffix) or random values; all others (ranges, optimizer, steps) begin fresh. `measure`
    returns the validation figures of a published checkpoint by name; the first decides which one is best: `better` says
    of each name "higher" or "lower". A saved training in the folder `state` is continued. Sessions have `threads`
    threads. StageError if the loss is no longer a number, or a checkpoint cannot be read or written.
    """
    resume = Resume(state)
    progress = resume.load()
    with session(target.graph, threads, course.precision) as opened, target.graph.as_default():
        run = _Run(target, course, opened, resume, progress or Progress(better=better or {}), measure)
        opened.run(v1.global_variables_initializer())
        if progress is not None:
            resume.restore(opened, v1.global_variables(), progress)
            log.write(f"The training goes on from step {progress.step}.")
        elif start_from is not None:
            checkpoint.explain(v1.global_variables(), restored=target.model, new=target.new)
            checkpoint.restore(opened, target.model, start_from)
            log.write(f"{len(target.model)} variables are those of {start_from.name}, {len(target.new)} begin anew.")
        with Interrupt() as run.interrupt, Events(resume.events, run.progress.step) as run.events:
            run.steps(batches, title)
    for step in run.progress.kept:
        checkpoint.link(checkpoint.files(checkpoint.prefix(state, step)), out)
    checkpoint.link(sorted(resume.events.iterdir()), out / "events")
    return run.progress


@dataclass
class _Run:
    """One run of the loop."""

    target: Training
    course: Course
    session: tf.compat.v1.Session
    resume: Resume
    progress: Progress
    measure: Measure | None
    events: Events = field(init=False)
    interrupt: Interrupt = field(init=False)

    def __post_init__(self) -> None:
        self.full = checkpoint.Saver({variable.op.name: variable for variable in v1.global_variables()})
        self.published = checkpoint.Saver(self.target.published)

    def steps(self, batches: Callable[[int], Batch], title: str) -> None:
        """Runs the remaining steps."""
        total, losses = self.course.steps, _Mean()
        if not total and not self.progress.kept:
            self._checkpoint("nothing to train")
        with (
            Prefetch(batches, self.progress.step, total) as made,
            console.bar(total=total, initial=self.progress.step, desc=title, unit="step") as bar,
        ):
            clock = _Clock(made)
            for step, batch in made:
                rate = self.course.learning_rate.rate(step, total)
                loss = self._step(step, batch, rate)
                losses.add(loss)
                self.progress.curve.add(step + 1, total, loss, rate)
                bar.update()
                clock.tick()
                done = self.progress.step = step + 1
                if done % self.course.log_every == 0 or done == total:
                    bar.set_postfix(loss=f"{losses.value:.3f}", refresh=False)
                    named = {"loss": losses.value, "learning_rate": rate, "steps_per_second": clock.rate()}
                    self._log(named)
                    losses = _Mean()
                if done % self.course.checkpoint_every == 0 or done == total:
                    self._checkpoint(f"loss {loss:.4f}, learning rate {rate:.3g}, {clock.waited()}")
                elif self.interrupt.requested is not None:
                    self.resume.save(self.session, self.full, self.progress)
                self.interrupt.obey()

    def _step(self, step: int, batch: Batch, rate: float) -> float:
        target = self.target
        with located():
            loss, _ = self.session.run([target.loss, target.step], target.feed(batch, rate))
        if not math.isfinite(loss):
            facts = [("step", step + 1), ("learning rate", f"{rate:.6g}"), ("loss", loss)]
            if step == 0:
                raise StageError("The loss is no number before the first step of the training.", facts, _NO_NUMBER)
            raise StageError("The training diverged: its loss is no longer a number.", facts, _DIVERGED)
        return float(loss)

    def _log(self, named: dict[str, float]) -> None:
        for tensor, ends in self.session.run(self.target.ranges).items():
            low, high = ends
            named[f"ranges/{tensor}/min"], named[f"ranges/{tensor}/max"] = low.min(), high.max()
        self.events.scalars(self.progress.step, named)

    def _checkpoint(self, note: str) -> None:
        """Publishes and validates a checkpoint, and saves the state that includes both."""
        progress = self.progress
        prefix = checkpoint.prefix(self.resume.folder, progress.step)
        self.published.save(self.session, prefix)
        figures = self.measure(prefix) if self.measure is not None else {}
        if figures:
            self.events.scalars(progress.step, {f"validation_{name}": value for name, value in figures.items()})
            note += "".join(f", validation {name} {value:.4g}" for name, value in figures.items())
        progress.keep(progress.step, figures)
        self.resume.save(self.session, self.full, progress)
        self.events.flush()
        log.write(f"step {progress.step}: {note}")


_DIVERGED = "Lower learning_rate.initial (a tenth of it is a good guess), or give it warm_up_steps."


_NO_NUMBER = "Look at the functions of the network and of the loss: a logarithm or a root of 0 or less gives no number."


@dataclass
class _Mean:
    total: float = 0.0
    count: int = 0

    def add(self, number: float) -> None:
        self.total += number
        self.count += 1

    @property
    def value(self) -> float:
        return self.total / max(self.count, 1)


class _Clock:
    """Measures steps per second since the last call, and the share of all time spent waiting for data."""

    def __init__(self, made: Prefetch) -> None:
        self._made = made
        self._steps = 0
        self._begun = self._last = time.perf_counter()

    def tick(self) -> None:
        self._steps += 1

    def rate(self) -> float:
        now = time.perf_counter()
        rate = self._steps / max(now - self._last, 1e-9)
        self._steps, self._last = 0, now
        return rate

    def waited(self) -> str:
        share = self._made.waited_s / max(time.perf_counter() - self._begun, 1e-9)
        return f"{100 * share:.1f} % of the time waiting for data"
