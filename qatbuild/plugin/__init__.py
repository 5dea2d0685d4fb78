"""The adapter to doit.

A dodo.py without other tasks needs two lines:

    from qatbuild.plugin import project_tasks
    DOIT_CONFIG, task_specs = project_tasks(__file__)

A dodo.py with other tasks adds the specs under a prefix:

    from qatbuild.plugin import qatbuild_tasks
    task_models = qatbuild_tasks("models")

`door` is the former name of `project_tasks`.
"""

from __future__ import annotations

from typing import Any

from qatbuild.plugin import streams

__all__ = ["door", "project_tasks", "qatbuild_tasks"]


streams.prepare()


def __getattr__(name: str) -> Any:
    """Imports on demand: doit imports this package for its commands, also in projects without a spec."""
    if name not in __all__:
        raise AttributeError(name)
    if name == "qatbuild_tasks":
        from qatbuild.plugin.prefix import qatbuild_tasks  # noqa: PLC0415

        return qatbuild_tasks
    from qatbuild.plugin.dodo import project_tasks  # noqa: PLC0415

    return project_tasks
