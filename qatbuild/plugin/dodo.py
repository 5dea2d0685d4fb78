"""What a dodo.py calls. It opens of a project what there is to do, and hands that to doit.

A run loads no more than what may be stale; every other command is about all that there is.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit.exceptions import InvalidDodoFile

from qatbuild.engine.fast_path import Shortcut
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import QatbuildError
from qatbuild.plugin import invocation
from qatbuild.plugin.reporter import BuildReporter

if TYPE_CHECKING:
    from qatbuild.engine.execute import Executor

Door = tuple[dict[str, Any], Callable[[], Any]]


def door(dodo_file: str, executor: Executor | None = None) -> Door:
    """DOIT_CONFIG and the task creator for the project of a dodo.py, given its __file__.

    `executor` is where requests run; by default in processes of this machine.
    """
    try:
        project = Project.prepared(Path(dodo_file).absolute().parent)
        gc.disable()  # What is loaded stays: looking for garbage in it is much of the time that loading takes.
        run = invocation.current()
        if run is None:
            return _opened(project, executor, None, None)
        run.folders.append(project.memory)
        shortcut = Shortcut(project)
        if not run.always and os.getcwd() == str(project.root):  # noqa: PTH109  The record's paths begin there.
            shortcut.look(run.names)
        if shortcut.load == []:
            return _up_to_date(project, shortcut)
        return _opened(project, executor, shortcut, run)
    except QatbuildError as error:
        raise InvalidDodoFile(error.block()) from error


def _up_to_date(project: Project, shortcut: Shortcut) -> Door:
    """Nothing to do, as far as the record tells: no spec is read, no task is made for any stage."""

    def task_specs() -> Iterator[dict[str, Any]] | None:
        return _placeholders(shortcut) if shortcut.named else None  # Without a task doit does not open its state.

    reporter = type("Reporter", (BuildReporter,), {"build": project.build, "reasons": {}, "fresh": shortcut.stages()})
    config = {**_config(project, shortcut), "reporter": reporter}
    return config, task_specs


def _opened(
    project: Project, executor: Executor | None, shortcut: Shortcut | None, run: invocation.Asked | None
) -> Door:
    """What is to be loaded, as tasks."""
    from qatbuild.plugin.session import Opened  # noqa: PLC0415  A build with nothing to do needs none of it.

    opened = Opened.of(project, executor, shortcut.load if shortcut else None, run)
    config = {**_config(project, shortcut), **opened.config(shortcut.routes if shortcut else dict)}
    if shortcut is not None:
        about = config["reporter"]
        about.unread, about.settled = lambda _: shortcut.unread(), lambda _: shortcut.settled()
        about.told = lambda _, since_ns: shortcut.told(since_ns)
    if shortcut is None or run is None:
        return config, opened.tasks
    shortcut.help(opened)
    config["reporter"].fresh = shortcut.stages(opened.plan.stages)
    run.finish.append(lambda: shortcut.remember(opened))
    if not shortcut.named:
        return config, opened.tasks

    def task_specs() -> Iterator[dict[str, Any]]:
        yield from opened.tasks()
        yield from _placeholders(shortcut)

    return config, task_specs


def _config(project: Project, shortcut: Shortcut | None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "backend": "qatbuild",
        "dep_file": str(project.memory / "doit.db"),
        "verbosity": 2,
    }
    if project.default is not None:
        load = shortcut.load if shortcut else None
        config["default_tasks"] = [
            label for label in project.default if load is None or label.partition(":")[0].partition("@")[0] in load
        ]
    return config


def _placeholders(shortcut: Shortcut) -> Iterator[dict[str, Any]]:
    """What was asked for by name and is up to date must be a task, or doit does not know it."""
    for name in shortcut.named:
        yield {"basename": name, "actions": None, "uptodate": [True], "doc": f"{name} is up to date"}
