"""Specs in a dodo.py that has tasks of its own: theirs get a prefix, and nothing else of it changes.

    from qatbuild.plugin import qatbuild_tasks
    task_models = qatbuild_tasks("models")

adds `models/LABEL` and `models/LABEL:STAGE`, and `models` for all of them. Plain `doit` runs what it ran before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit.exceptions import InvalidDodoFile

from qatbuild.plugin.reporter import in_brief
from qatbuild.plugin.session import Opened, opening

if TYPE_CHECKING:
    from qatbuild.engine.execute import Executor

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def qatbuild_tasks(prefix: str, root: str | Path = ".", executor: Executor | None = None) -> Callable[[], Any]:
    """The task creator for the project at `root`, by default the folder of the dodo.py, which doit has made current.

    Its pyproject.toml says where the specs are, as for `door`. `executor` is where requests run.
    """
    if not _PREFIX.fullmatch(prefix):
        raise InvalidDodoFile(f'qatbuild_tasks("{prefix}"): letters, digits, "_", "-" and "." make a prefix.')
    return opening(Path(root).absolute(), executor)._replace(prefix=prefix).tasks


def prefixed(opened: Opened, tasks: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The tasks of a project under its prefix, and one for all of them.

    doit's own checker of files may be any here, and would read a dataset once a stage: what is up to date the stages
    know without it.
    """
    prefix = opened.prefix
    names = [*opened.plan.labels, *opened.errors]
    yield {
        "basename": prefix,
        "actions": None,
        "task_dep": [f"{prefix}/{name}" for name in names],
        "doc": f"every label of {prefix}",
    }
    for task in tasks:
        moved = {**task, "basename": f"{prefix}/{task['basename']}"}
        if "task_dep" in task:
            moved["task_dep"] = [f"{prefix}/{name}" for name in task["task_dep"]]
        if "meta" in task:
            moved |= {"file_dep": [], "title": lambda made: _title(opened, made)}
        yield moved


def _title(opened: Opened, task: Any) -> str:
    """What doit's own reporter prints of a stage that runs: its name, and why."""
    reasons = opened.builder.reasons.get(task.meta["stage"].id)
    return f"{task.name}: {in_brief(reasons)}" if reasons else str(task.name)
