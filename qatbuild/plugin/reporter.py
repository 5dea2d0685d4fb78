"""What a build prints: a line and a reason for each stage that runs, an error as one block, and at the end the table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from doit.exceptions import TaskFailed, UnmetDependency
from doit.reporter import ConsoleReporter

from qatbuild.plan import Plan, Stage
from qatbuild.report.table import table


def reporter(plan: Plan, build: Path, reasons: dict[str, list[str]]) -> type[ConsoleReporter]:
    """A reporter class that knows the plan. `reasons` says, by stage id, why a stage runs."""

    class BuildReporter(ConsoleReporter):  # type: ignore[misc]
        """One line a stage; silence for what is up to date."""

        desc = "qatbuild: stages that run, with reasons, and the table of models"

        def __init__(self, outstream: Any, options: dict[str, Any]) -> None:
            super().__init__(outstream, options)
            self.started = time.monotonic()
            self.current = 0
            self.built: list[Stage] = []
            self.failed: list[Stage] = []

        def execute_task(self, task: Any) -> None:
            stage = task.meta.get("stage") if task.meta else None
            if stage is not None:
                self.write(f".  {_shown(stage)}: {_in_brief(reasons.get(stage.id, []))}\n")
                self.outstream.flush()

        def skip_uptodate(self, task: Any) -> None:
            self.current += bool(task.meta and "stage" in task.meta)

        def add_success(self, task: Any) -> None:
            if task.meta and "stage" in task.meta:
                self.built.append(task.meta["stage"])

        def add_failure(self, task: Any, fail: Any) -> None:
            stage = task.meta.get("stage") if task.meta else None
            name = _shown(stage) if stage else task.name
            if stage:
                self.failed.append(stage)
            if isinstance(fail, UnmetDependency):
                if stage:
                    self.write(f"!  {name}: not built, for {fail.message} failed\n")
            elif isinstance(fail, TaskFailed):
                self.write(f"\n{name} FAILED\n{_indented(fail.message)}\n")
            else:
                self.write(f"\n{name} FAILED\n{_indented(fail.get_msg())}\n")

        def complete_run(self) -> None:
            labels = {label: None for stage in (*self.built, *self.failed) if stage.name == "evaluate" for label in stage.labels}
            reports = [build / label / "report.json" for label in labels]
            text = table([path for path in reports if path.is_file()], build)
            if text:
                self.write("\n" + text)
            counts = [(len(self.built), "built"), (self.current, "up to date"), (len(self.failed), "failed")]
            parts = [f"{count} {what}" for count, what in counts if count]
            if parts:
                self.write(f"{', '.join(parts)} in {time.monotonic() - self.started:.1f} s\n")
            super_errors = self.runtime_errors
            if super_errors:
                self.write("\n".join(super_errors) + "\n")

    return BuildReporter


def _shown(stage: Stage) -> str:
    more = f" (and {len(stage.labels) - 1} more)" if len(stage.labels) > 1 else ""
    return f"{stage.labels[0]}:{stage.name}{more}"


def _in_brief(reasons: list[str]) -> str:
    if not reasons:
        return "forgotten by doit, to be verified"
    return "; ".join(reasons[:2]) + (f" and {len(reasons) - 2} more" if len(reasons) > 2 else "")  # noqa: PLR2004


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.splitlines())
