"""`project_tasks`, which a dodo.py calls: it loads the project's stale specs and returns them as doit tasks.

Only `doit run` leaves out up-to-date specs; every other command loads the whole project.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit.exceptions import InvalidDodoFile

from qatbuild.engine.closing import Pages
from qatbuild.engine.fast_path import FastPath
from qatbuild.engine.project import Only, Project
from qatbuild.exchange.errors import QatbuildError
from qatbuild.plugin import invocation
from qatbuild.plugin.invocation import Invocation
from qatbuild.plugin.reporter import BuildContext, reporter_class
from qatbuild.schema.label import spec_of

if TYPE_CHECKING:
    from qatbuild.engine.execute import Executor

DoitConfig = dict[str, Any]
TaskCreator = Callable[[], Any]


def project_tasks(dodo_file: str, executor: Executor | None = None) -> tuple[DoitConfig, TaskCreator]:
    """Returns DOIT_CONFIG and the task creator for the project of a dodo.py, from its __file__.

    `executor` runs the requests; by default the one that the command line or the project's settings name.
    """
    command = invocation.current()
    try:
        project = Project.prepared(Path(dodo_file).absolute().parent)
        if command.executor:
            project = replace(project, executor=command.executor)
        command.pause_garbage_collection()
        command.open(project)
        if command.lists and (groups := _listed(project, command)):
            return groups
        fast_path = FastPath(project)
        if not command.builds:
            return _loaded(project, executor, fast_path, command)
        if not command.always and not command.whole and _is_current_folder(project):
            fast_path.check(command.names)
        if fast_path.nothing_to_load:
            command.at_end(fast_path.remember_pages)
            return _up_to_date(project, fast_path, command)
        return _loaded(project, executor, fast_path, command)
    except QatbuildError as error:
        raise InvalidDodoFile(error.block()) from error


def _listed(project: Project, command: Invocation) -> tuple[DoitConfig, TaskCreator] | None:
    """Returns tasks for `doit list`, without stages for unchanged specs; None if every spec must be read."""
    from qatbuild.engine.listing import listing  # noqa: PLC0415
    from qatbuild.plugin.session import Session  # noqa: PLC0415
    from qatbuild.plugin.tasks import listed, tasks  # noqa: PLC0415

    result = listing(project) if _is_current_folder(project) else None
    if result is None or not result.recorded:
        return None
    session = Session.load(project, None, Only(result.load))
    defaults = {spec_of(name) for name in project.default or ()}
    if session.errors or defaults.intersection(result.load):  # Their tasks get unique names.
        return None
    command.sessions.append(session)

    def task_specs() -> Iterator[dict[str, Any]]:
        yield from tasks(session.loaded, session.builder, parts=False)
        yield from listed(result.recorded, shared=not session.plan.stages)

    return {"backend": "qatbuild", "dep_file": str(project.state.doit)}, task_specs


def _is_current_folder(project: Project) -> bool:
    """Returns whether the project's root is the working directory, where the record's paths begin."""
    return os.getcwd() == str(project.root)  # noqa: PTH109


def _up_to_date(project: Project, fast_path: FastPath, command: Invocation) -> tuple[DoitConfig, TaskCreator]:
    """Returns tasks for a build with nothing to do: no spec is read, and the stages have no tasks."""

    def task_specs() -> Iterator[dict[str, Any]] | None:
        return _placeholders(fast_path) if fast_path.up_to_date else None  # Without tasks doit opens no database.

    unloaded = fast_path.count_stages()
    context = BuildContext(Pages(project, None, fast_path), {}, frozenset(), unloaded, command.monitor)
    return _config(project, fast_path, context), task_specs


def _loaded(
    project: Project, executor: Executor | None, fast_path: FastPath, command: Invocation
) -> tuple[DoitConfig, TaskCreator]:
    """Returns tasks for the specs that `fast_path` selects."""
    from qatbuild.engine.build import remember  # noqa: PLC0415  A build with nothing to do needs none of it.
    from qatbuild.plugin.session import Session  # noqa: PLC0415
    from qatbuild.plugin.state import checker  # noqa: PLC0415
    from qatbuild.plugin.tasks import tasks  # noqa: PLC0415

    lock = command.lock if command.builds else None
    session = Session.load(
        project,
        executor,
        fast_path.selection,
        lock=lock,
        always=command.always,
        whole=command.whole,
        monitor=command.monitor if command.builds else None,
    )
    loaded, builder = session.loaded, session.builder
    command.sessions.append(session)
    if command.builds:
        fast_path.seed_code_digests(builder.rebuilder)
        command.at_end(lambda: remember(fast_path, loaded, builder))
    unloaded = fast_path.count_stages(loaded.plan.stages)
    pages = Pages(project, loaded.plan, fast_path)
    context = BuildContext(pages, builder.reasons, builder.restorable, unloaded, command.monitor)
    config = {**_config(project, fast_path, context), "check_file_uptodate": checker(builder.rebuilder.digests)}

    def parts() -> bool:
        """Returns whether the command line, a default or another task of the dodo.py may name a part of a label."""
        defaults = config.get("default_tasks") or ()  # The dodo.py may have replaced them.
        return not command.builds or command.names_parts(defaults) or command.has_other_tasks()

    def task_specs() -> Iterator[dict[str, Any]]:
        yield from tasks(loaded, builder, parts=parts())
        yield from _placeholders(fast_path)

    command.creators.append(task_specs)
    return config, task_specs


def _config(project: Project, fast_path: FastPath, context: BuildContext) -> DoitConfig:
    config: DoitConfig = {
        "backend": "qatbuild",
        "dep_file": str(project.state.doit),
        "verbosity": 2,
        "reporter": reporter_class(context),
    }
    if project.default is not None:
        selection = fast_path.selection
        config["default_tasks"] = [
            label for label in project.default if not isinstance(selection, Only) or spec_of(label) in selection.names
        ]
    return config


def _placeholders(fast_path: FastPath) -> Iterator[dict[str, Any]]:
    """Yields an up-to-date task for each requested name that is not loaded, because doit refuses unknown names."""
    for name in fast_path.up_to_date:
        yield {"basename": name, "actions": None, "uptodate": [True], "doc": f"{name} is up to date"}
