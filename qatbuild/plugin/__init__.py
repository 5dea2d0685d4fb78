"""All that speaks doit, and nothing else does.

A dodo.py needs two lines:

    from qatbuild.plugin import door
    DOIT_CONFIG, task_specs = door(__file__)

and one that has tasks of its own (see guest.py):

    from qatbuild.plugin import qatbuild_tasks
    task_models = qatbuild_tasks("models")
"""

from __future__ import annotations

from typing import Any

__all__ = ["door", "qatbuild_tasks"]


def __getattr__(name: str) -> Any:
    """Import on demand: doit imports this package for its commands, also in projects without a spec."""
    if name not in __all__:
        raise AttributeError(name)
    if name == "door":
        from qatbuild.plugin.dodo import door  # noqa: PLC0415

        return door
    from qatbuild.plugin.prefix import qatbuild_tasks  # noqa: PLC0415

    return qatbuild_tasks
