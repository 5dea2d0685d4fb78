"""Specs in a dodo.py with other tasks: the specs' tasks get a prefix, and the other tasks stay unchanged.

    from qatbuild.plugin import qatbuild_tasks
    task_models = qatbuild_tasks("models")

adds `models/LABEL` and `models/LABEL:STAGE`, and `models` for all of them. Plain `doit` runs the same tasks as before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit.exceptions import InvalidDodoFile

from qatbuild.engine.outcome import in_brief
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import QatbuildError
from qatbuild.plugin import invocation
from qatbuild.plugin.session import Session
from qatbuild.plugin.tasks import faulty, tasks

if TYPE_CHECKING:
    from qatbuild.engine.execute import Executor

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def qatbuild_tasks(prefix: str, root: str | Path = ".", executor: Executor | None = None) -> Callable[[], Any]:
    """Returns the task creator for the project at `root`, by default the folder of the dodo.py (doit's current one).

    Its pyproject.toml names the folders of specs, as for `project_tasks`. `executor` runs the requests.
    """
    if not _PREFIX.fullmatch(prefix):
        raise InvalidDodoFile(f'qatbuild_tasks("{prefix}"): a prefix has letters, digits, "_", "-" and ".".')
    command = invocation.current()
    try:
        project = Project.prepared(Path(root).absolute())
        command.open(project)
        lock = command.lock if command.builds else None
        session = Session.load(
            project,
            executor,
            prefix=prefix,
            lock=lock,
            always=command.always,
            whole=command.whole,
            monitor=command.monitor if command.builds else None,
        )
    except QatbuildError as error:
        raise InvalidDodoFile(error.block()) from error
    command.sessions.append(session)

    def creator() -> Iterator[dict[str, Any]]:
        return _prefixed(session, tasks(session.loaded, session.builder))

    command.creators.append(creator)
    return creator


def _prefixed(session: Session, unprefixed: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields tasks under the session's prefix, after one task for all of them.

    They have no file_dep, because any of doit's file checkers, which the dodo.py may use, would read a dataset once per
    stage. The stages' own check is sufficient.
    """
    prefix = session.prefix
    names = [*session.plan.labels, *faulty(session.loaded)]
    yield {
        "basename": prefix,
        "actions": None,
        "task_dep": [f"{prefix}/{name}" for name in names],
        "doc": f"every label of {prefix}",
    }
    for task in unprefixed:
        moved = {**task, "basename": f"{prefix}/{task['basename']}"}
        if "task_dep" in task:
            moved["task_dep"] = [f"{prefix}/{name}" for name in task["task_dep"]]
        if "stage" in task.get("meta", ()):
            moved |= {"file_dep": [], "title": lambda running: _title(session, running)}
        yield moved


def _title(session: Session, task: Any) -> str:
    """Returns the title that doit's own reporter prints for a running stage: its name, and the reason."""
    reasons = session.builder.reasons.get(task.meta["stage"].id)
    return f"{task.name}: {in_brief(reasons)}" if reasons else str(task.name)
