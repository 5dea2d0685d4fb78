"""The saved state of a training, for resuming it after a kill: every variable, and the progress of the loop.

The state file is written last, by rename, and holds the digests of all files of the state. So a complete state always
exists, and a truncated or edited file is detected.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tensorflow as tf

from qatbuild.exchange import saved_training
from qatbuild.exchange.files import file_sha256, read_json, remove, write_text
from qatbuild.worker.training import checkpoint, log
from qatbuild.worker.training.curve import Curve


@dataclass
class Progress:
    """The progress of a training.

    `kept` are the steps that have a published checkpoint; `validation` are the figures of `metric` as [step, figure].
    `better` says of each metric by name which of its figures are: "higher" (the default) or "lower" ones. `curve` has
    the losses so far.
    """

    step: int = 0
    kept: list[int] = field(default_factory=list)
    metric: str = ""
    better: Mapping[str, str] = field(default_factory=dict)
    validation: list[tuple[int, float]] = field(default_factory=list)
    curve: Curve = field(default_factory=Curve)

    @property
    def best(self) -> int | None:
        """Returns the step with the best validation figure, the earliest of equal ones; None without validation."""
        if not self.validation:
            return None
        sign = -1 if self.better.get(self.metric) == "lower" else 1
        return max(self.validation, key=lambda row: (sign * row[1], -row[0]))[0]

    def keep(self, step: int, figures: Mapping[str, float]) -> None:
        """Records a published checkpoint and its first figure, if any: any of them may be frozen, so all are kept."""
        if figures:
            self.metric, figure = next(iter(figures.items()))
            self.validation.append((step, figure))
        self.kept.append(step)


@dataclass(frozen=True)
class Resume:
    """The state folder of a training, with its published checkpoints and its event files so far."""

    folder: Path

    @property
    def events(self) -> Path:
        """The folder of event files. They are part of the state, because a worker's `out` begins empty."""
        return self.folder / saved_training.EVENTS

    @property
    def _state(self) -> Path:
        return self.folder / saved_training.STATE

    def _full(self, step: int) -> Path:
        return self.folder / f"full.ckpt-{step}"

    def load(self) -> Progress | None:
        """Loads the saved progress, None without one; a damaged state is removed with a line in the log."""
        if not self._state.exists():
            remove(self.folder)
            return None
        try:
            fields = read_json(self._state)
            damaged = [name for name, digest in fields["files"].items() if file_sha256(self.folder / name) != digest]
            if not damaged:
                rows = [(int(step), float(figure)) for step, figure in fields["validation"]]
                kept, metric = [int(step) for step in fields["kept"]], str(fields["metric"])
                curve = Curve(**fields["curve"])
                return Progress(int(fields["step"]), kept, metric, {**fields["better"]}, rows, curve)
            fault: object = f"{', '.join(damaged)}: not as saved"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as reason:
            fault = reason
        log.write(f"The saved state of the training cannot be used ({fault}): it begins anew.")
        remove(self.folder)
        return None

    def restore(self, session: tf.compat.v1.Session, variables: Iterable[tf.Variable], progress: Progress) -> None:
        """Gives every variable its value in the saved state of `progress`."""
        checkpoint.restore(session, variables, self._full(progress.step))

    def save(self, session: tf.compat.v1.Session, saver: checkpoint.Saver, progress: Progress) -> None:
        """Saves every variable and the progress; then removes the older state."""
        saver.save(session, self._full(progress.step))
        prefixes = [self._full(progress.step), *(checkpoint.prefix(self.folder, step) for step in progress.kept)]
        unchanged = self._digests()
        current = [file for prefix in prefixes for file in checkpoint.files(prefix)]
        digests = {file.name: unchanged.get(file.name) or file_sha256(file) for file in current}
        write_text(self._state, json.dumps({**asdict(progress), "files": digests}, indent=1))
        for file in self.folder.glob("*.ckpt-*"):
            if file.name not in digests:
                file.unlink()

    def _digests(self) -> Mapping[str, str]:
        """Returns digests of published checkpoints from the previous state: those files have not changed since."""
        published = saved_training.digests(self.folder)
        return {name: digest for name, digest in published.items() if name.startswith("model.")}
